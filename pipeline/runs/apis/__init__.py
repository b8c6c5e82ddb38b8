"""Runs whose classifier is a vision API: what their settings refuse, what is known beforehand, and the run itself."""
