"""Errors, registries, variants, settings and their hashes: all that every room shares, and nothing else.

Everything may import this package. It imports no other part of raysmooth.
"""
