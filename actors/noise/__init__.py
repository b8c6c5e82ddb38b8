"""Noise and its random streams: one stream for each seed, role, image and block, whoever draws it.

A new noise family, with its radius, is an entry of `NOISES` in `families`.
"""
