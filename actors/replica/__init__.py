"""The Ray actor that holds one copy of denoiser and classifier, and turns work units into label counts."""
