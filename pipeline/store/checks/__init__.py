"""Checks of columns that only some runs have: parts of `row_checks`."""
