"""Runs without draws of their own: recertified from stored counts, joined from runs at several noise levels, asked
again of a classifier that remembers its answers, or imported from another tool's logs.

Only commands and the Python API import it. A new kind of derived run is a module that writes rows of `certify` through
`RunStore`, under an identity of its own, and names their `source`.
"""
