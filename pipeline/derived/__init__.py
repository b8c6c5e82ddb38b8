"""Runs without draws of their own: recertified from stored counts, or imported from another tool's logs."""
