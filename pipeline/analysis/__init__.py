"""Statistics over certificate rows: numbers in, numbers out, no formatting."""
