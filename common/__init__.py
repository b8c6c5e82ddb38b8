"""What every room shares: errors, registries, settings and their hashes; nothing else, ever.

Everything may import this package. It imports no other part of raysmooth.
"""
