"""Work in progress as a person sees it: notes and bars, in a terminal, in a notebook, in a log.

Runs, trainings, sweeps and experiments import it; it knows none of them.
"""
