"""Errors, warnings, registries, variants, settings, limits, hashes, the version: all that every room shares.

Everything may import this package. It imports no other part of raysmooth.
"""

__version__ = "0.1.0"
