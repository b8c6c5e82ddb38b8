"""Folders and object stores behind one interface, files that appear whole or not at all, and the download cache.

Only `common` lies below. A new kind of store is an entry of `STORES` in `store_urls`.
"""
