"""What is said of runs of vision APIs: whose labels count as right, and what draws that support no class are called."""

import pandas as pd

from raysmooth.pipeline.analysis.metrics import UNANSWERED
from raysmooth.pipeline.analysis.run_facts import AGREEING, varies

AGREEMENT = "Certified agreement is with what the API itself answers to the image without noise, which may be wrong"

_NOT_ACCURACY = (
    "Of some runs the labels are what the API itself answers to the image without noise: their shares are certified "
    "agreement, which says nothing of accuracy and is not comparable with it"
)


def whose_labels(runs: pd.DataFrame) -> list[str]:
    """Sentences, without full stops, on the labels of `runs`, which are those of `describe_runs`; none where all labels
    are those of the data.
    """
    agreeing = runs["quantity"] == AGREEING
    return [] if not agreeing.any() else [AGREEMENT] if agreeing.all() else [_NOT_ACCURACY]


def set_aside(runs: pd.DataFrame) -> str:
    """What is said of the draws of `runs` that count for no class: that they are rejected or, of an API, unanswered."""
    asked = runs["rejector"] == UNANSWERED
    if asked.all():
        return "unanswered"
    return "rejected or unanswered" if asked.any() else "rejected"


def judged_shares(runs: pd.DataFrame) -> str:
    """What the shares of `runs` are, for a note: "Certified accuracy", "Certified agreement", or both."""
    quantities = runs["quantity"]
    if not varies(quantities):
        return "Certified agreement" if quantities.iloc[0] == AGREEING else "Certified accuracy"
    return "Certified accuracy or agreement" if (quantities == AGREEING).any() else "Certified accuracy"
