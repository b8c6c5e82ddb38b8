"""A run seen from another shell or machine, by what is on disk."""
