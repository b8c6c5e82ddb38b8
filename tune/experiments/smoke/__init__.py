"""An experiment in seconds, for `--smoke`: all of its stages with small networks, few images and few draws.

What it says holds of the stages, never of the numbers. Used by the wing around it alone. Networks that are too large
for it have a replacement in `small_networks`; data sets that are missing are generated, each by an entry of
`GENERATORS` in `smoke_data`.
"""
