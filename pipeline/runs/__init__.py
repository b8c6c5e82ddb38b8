"""A run from its settings to its last row: checked, planned, drawn, written; and what it would cost.

A new procedure is an entry of `PROCEDURES` in `procedures`.
"""
