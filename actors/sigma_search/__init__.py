"""A noise level of its own for each image, found from the image and the base classifier alone, with draws of a role of
their own (Alfarra et al., Data dependent randomized smoothing).

Replicas run it, and training takes the objective from it. A new search is options, in `search_options`, and an entry of
`SEARCHES` in `searches`. A new way to differentiate is an entry of `GRADIENTS` in `search_options`, the objective of a
new noise family one of `OBJECTIVES` in `objective`.
"""
