"""An experiment: a file of stages that ends in a table or a figure of a paper, its own numbers beside ours.

A new experiment is a YAML file in `experiments/`; a new kind of stage is an entry of `STAGE_KINDS` in `stage_kinds`.
"""
