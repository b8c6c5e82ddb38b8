"""Noise and its random streams: one stream for each seed, role, image and block, on whichever replica.

A new noise family, with its radius, is an entry of `NOISES` in `families`; certifying and training draw from it.
"""
