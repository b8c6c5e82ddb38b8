"""A run from its settings to its last row: preflight, plan, ledger, driver.

A new procedure is an entry of `PROCEDURES` in `procedures`.
"""
