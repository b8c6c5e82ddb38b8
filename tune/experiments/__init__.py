"""An experiment: a file of stages that ends in a table or a figure of a paper, the paper's numbers beside ours.

A new experiment is a YAML file in `experiments/`. A new kind of stage is an entry of `STAGE_KINDS` in `stage_kinds`, a
new layout of a paper's table one of `LAYOUTS` in `paper_comparison`, generated images for smoke tests one of
`GENERATORS` in `smoke/smoke_data`. A stage may choose among the networks of others (`choose_stage`), or serve one as a
vision API while others ask it (`serve_stage`).
Words: a file `include`s stages of other files; a stage with a `matrix` is repeated for its combinations of values; each
repetition is a stage run.
"""
