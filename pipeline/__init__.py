"""Certifying: images in, work units out, counts back, certificates, Parquet, reports."""
