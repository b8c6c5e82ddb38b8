"""Label counts of a classifier with a rejector: label k is class k, kept; label K + k is class k, rejected.

A rejected draw keeps its class, so that the counts of one run give the certificate with the rejector and the one
without it, on the same draws. Counts are int (2 K,), or (K,) without a rejector. Draws that a vision API left
unanswered are counted as rejected ones too (`actors.models.rejectors.UNANSWERED`); they have no class without it.
"""

import numpy as np


def kept_and_rejected(counts: np.ndarray, rejecting: bool) -> tuple[np.ndarray, int | None]:
    """The counts of kept draws by class, int (K,), and the number of rejected draws: None without a rejector."""
    if not rejecting:
        return counts, None
    kept, rejected = np.split(counts, 2)
    return kept, int(rejected.sum())


def without_rejection(counts: np.ndarray) -> np.ndarray:
    """The counts that the same draws of the classifier without its rejector have: kept + rejected, int (K,)."""
    kept, rejected = np.split(counts, 2)
    return np.asarray(kept + rejected)
