"""Ray Jobs: find a cluster's dashboard, pack the working directory, submit a command and follow it.

Only `commands` imports it, and it knows no command: a job is a list of words, run by the copy of raysmooth that is
packed.
"""
