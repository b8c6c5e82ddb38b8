"""The fuzz suite: malformed files, names and command lines, and what raysmooth makes of them.

A kind (`catalogue.KINDS`) builds valid inputs once and alters a copy of them for each case, knowing their structure. A
case is reproduced from its kind, its number and the seed. `attempt` runs one case in this process, `oracle` judges it,
`workers` runs many and notices those that hang or crash; `python -m tests.fuzz` prints the counts.

A new kind of file is a module in `kinds` with functions for `build` and `play`, and an entry of KINDS.
"""
