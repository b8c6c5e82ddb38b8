"""Certifying a model that is an object of the caller's program, in that process: without Ray, files or settings' files.

`raysmooth.certify_model` and `predict_model` are made of it. Ledgers, rules and replicas' code are those of every run;
in place of the pool there is one drawer of units, in place of a store a list of rows.
"""
