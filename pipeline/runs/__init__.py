"""A run before anything is drawn: its settings, what they refuse, its networks and data, its identity and its plan.

A new procedure is an entry of `PROCEDURES` in `procedures`.
"""
