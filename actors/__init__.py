"""Code that runs on workers, next to a GPU: models, noise, attacks, replicas. It knows no runs, results or commands."""
