"""Networks in files of other tools, which hold the architecture and the weights: read and checked without running code
that comes with them. A new kind of file is a module here and a case in `models/loading.py`; imports are those of
`actors/models`.
"""
