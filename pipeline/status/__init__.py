"""A run seen from another shell or machine, from its files alone."""
