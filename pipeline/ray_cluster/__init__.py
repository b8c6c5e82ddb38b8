"""Ray itself: which cluster is joined or started, how long it is kept, and how its end is noticed.

The pool, trainings, sweeps and experiments import it; it knows none of them. Another place to look for a cluster is a
case of `cluster_to_join`; another sign of its end, of `watching_ray`.
"""
