"""How a network is computed: precision, folding, compilation, batch size, and the probe that chooses them.

A new precision is an entry of `PRECISIONS` in `compute_config`.
"""
