"""The report's tables, and the formats they are printed and written in."""
