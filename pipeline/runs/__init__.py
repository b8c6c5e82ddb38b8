"""A run from its settings to its last row: preflight, plan, ledger, driver; and the dry run, which estimates its cost.

A new procedure is an entry of `PROCEDURES` in `procedures`.
"""
