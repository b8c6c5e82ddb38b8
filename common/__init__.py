"""Errors, registries, variants, settings, limits and hashes: all that every room shares, and nothing else.

Everything may import this package. It imports no other part of raysmooth.
"""
