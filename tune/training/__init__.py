"""One training: its loop, its workers, its files, its validation, and the card of the weights it makes.

Sweeps, experiments and commands import it. A new kind of training is an entry of `TRAININGS` in `trainings`: its
settings, and the task that builds networks, data and objective.
"""
