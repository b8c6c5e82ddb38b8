"""Errors, warnings, registries, variants, settings, limits, hashes, the version: all that every room shares.

A format of files that hold a network, as in hf:FOLDER, is an entry of `MODEL_FILES` (`model_files`).

Everything may import this package. It imports no other part of raysmooth.
"""

__version__ = "0.1.0"
