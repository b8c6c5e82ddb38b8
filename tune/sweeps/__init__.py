"""Many trainings as trials of Ray Tune, judged by certificates of held-out images.

A new metric is an entry of `METRICS`, a new scheduler one of `SCHEDULERS`, a new way to vary a setting one of
`DOMAIN_TYPES` in `search_space`.
"""
