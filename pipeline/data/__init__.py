"""Data sets and single images, from bytes to pixels.

A new data set is a reader and an entry of `DATASETS` in `datasets`.
"""
