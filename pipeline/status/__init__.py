"""A run seen from another shell or machine, from its files alone.

Only commands import it; it imports neither Ray nor the driver. A new fact of a run is a field of `RunStatus`, read from
its files, or from the progress record if these do not hold it yet.
"""
