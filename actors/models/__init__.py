"""Networks and their weights: a base classifier, its normalisation, the denoiser in front of it and its rejector.

A new network is a module in `networks` and an entry of `CLASSIFIERS` (`classifiers`) or `DENOISERS` (`denoisers`);
normalisation constants are entries of `PREPROCESS`. A new way to reject draws is a `Rejector` (`rejection_rules`) and
an entry of `REJECTORS` (`rejectors`). A format of files of other tools, as in hf:FOLDER, is an entry of `READERS`
(`formats/readers`), a filter that resizes images for a classifier one of `INTERPOLATIONS` (`networks/input_size`).
"""
