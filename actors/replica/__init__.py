"""The Ray actor that holds a copy of denoiser and classifier and turns work units into label counts.

It knows no runs and no image files. The pool (`pipeline/pool`) starts it and sends it work.
"""
