"""Statistics over certificate rows: numbers in, numbers out, no formatting.

It reads rows through `store`. The report, derived runs, pictures, sweeps, experiments and commands import it. A new
statistic is a function in a module of its own; a table or a figure of `report` shows it.
"""
