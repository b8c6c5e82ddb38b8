"""The query log: every answer that was ever paid for, what it cost, and the label that a rule reads from it.

An answer is on disk before it counts, under a name that is free of n, alpha, label rule, torch and device, so that no
query is paid for twice. No Ray and no SDK here. May be imported by the query pool, runs, drawing, derived and commands.
A new label rule is an entry of `LABEL_RULES`.
"""
