"""Whence rows are that their run did not draw: what the column `source` begins with."""

IMPORTED = "imported from "
"""A log of another tool, by its file's name."""

RECERTIFIED = "recertified from "
"""The stored counts of another run, by its id."""
