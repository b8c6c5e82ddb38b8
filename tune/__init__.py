"""Training: classifiers, denoisers, sweeps of trainings, and the papers' experiments."""
