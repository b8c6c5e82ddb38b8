"""What runs on a worker beside a GPU. Nothing here knows of runs, results or a command line."""
