"""What rows with levels of their own, and rows of a memory, do not say: one sentence for each, the same wherever it is
read. (Facts: Alfarra et al., Data dependent randomized smoothing; Sukenik et al. 2022, why no more can be said.)
"""

PER_IMAGE = (
    "Each row certifies the classifier smoothed with that image's own sigma, a fixed number; it is no statement about "
    "a classifier that finds sigma again for every input."
)

MEMORY = (
    "A row of a memory holds for later queries only: once an image is stored, every later query within its radius gets "
    "its class; points seen before, and smoothing, play no part."
)
