"""Many trainings as trials of Ray Tune, judged by certificates of held-out images."""
