"""From label counts to a certificate, and how many draws that takes. Pure functions: no files, no Ray.

A new sampling method is a rule (see `sampling_rule`) and an entry of `SAMPLINGS` in `sampling_methods`.
"""
