"""Folders and object stores behind one interface, atomic writes, and the download cache.

It imports `common` only. A new kind of store is an entry of `STORES` in `store_urls`.
"""
