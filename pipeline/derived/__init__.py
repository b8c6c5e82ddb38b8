"""Runs that were not drawn here: recertified from stored counts, or imported from another tool's logs."""
