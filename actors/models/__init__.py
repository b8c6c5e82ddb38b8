"""Networks and their weights: a base classifier, its normalisation, and the denoiser in front of it.

A new network is a module in `networks` and an entry of `CLASSIFIERS` (`classifiers`) or `DENOISERS` (`denoisers`);
normalisation constants are entries of `PREPROCESS`.
"""
