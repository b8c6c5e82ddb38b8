"""Sigmas of images: the rules by which a run chose them, their distribution, runs that differ in their steps."""
