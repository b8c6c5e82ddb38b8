"""Each module builds the valid inputs of a kind or two, and alters them, knowing their structure."""
