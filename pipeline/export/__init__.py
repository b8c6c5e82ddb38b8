"""Results for others: finished certificates in formats that other tools, leaderboards and model hubs read.

Only commands and the Python API import it. A new format is a module with a function from runs to text, and an entry of
`EXPORTS` in `formats`.
"""
