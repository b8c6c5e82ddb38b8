"""The distribution of a run's lower bounds pA. ACR alone misleads: the radius goes to infinity as pA approaches 1, so a
few images on which (nearly) all draws agree can outweigh losses on all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from raysmooth.pipeline.analysis.columns import flags, numbers
from raysmooth.pipeline.analysis.metrics import certified_radii, labelled
from raysmooth.pipeline.analysis.run_checks import are_certified, estimation_counts, refuse_missing

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
"""Default bins: the first holds everything up to 1/2, where CERTIFY abstains (with a separate bound on the runner-up it
may certify there); bins are finer towards 1, where radii change fastest.
"""

KINDS = ("right", "wrong", "unlabelled", "abstained")
"""The kinds of images without error."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Ceiling:
    """The images on which all estimation draws agree: their pA is the largest that this number of draws can give, and
    only more draws could raise it.

    `images` is their number, `share` their share of all images without error; `acr_share` is their part of the ACR, NaN
    where the ACR is 0 or there are no labels.
    """

    images: int
    share: float
    acr_share: float


def p_lower_histogram(rows: pd.DataFrame, edges: Sequence[float] = EDGES) -> pd.DataFrame:
    """Images of one run by their p_lower; one row per bin.

    Columns: low, high (a bin holds low < p_lower <= high, the first also low), then numbers of images: right and wrong
    (by the certified class), unlabelled, abstained (whatever their p_lower, which is 0 for a class that got no
    estimation draws), and images, their sum. Error rows are in no bin. `edges` ascend from 0 to 1. Raises
    RaysmoothError for runs that decide one radius or record no p_lower, and if there are no rows, or rows of several
    runs.
    """
    kinds, p_lower = _finished(rows)
    size = len(edges) - 1
    bins = np.clip(np.searchsorted(edges, p_lower, side="left") - 1, 0, size - 1)
    counts = np.bincount(size * kinds + bins, minlength=size * len(KINDS)).reshape(len(KINDS), size)
    numbers_of = dict(zip(KINDS, counts, strict=True))
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], **numbers_of, "images": counts.sum(axis=0)})


def p_lower_quantiles(rows: pd.DataFrame, quantiles: Sequence[float] = QUANTILES) -> pd.Series:
    """Quantiles of p_lower over all images of one run without error, abstentions included; float64, indexed by
    `quantiles`.

    Each is the p_lower of an image, the lower of two where the quantile lies between. NaN where all images failed.
    Raises RaysmoothError as `p_lower_histogram` does.
    """
    _, p_lower = _finished(rows)
    found = np.quantile(p_lower, quantiles, method="lower") if len(p_lower) else np.full(len(quantiles), np.nan)
    return pd.Series(found, pd.Index(quantiles))


def ceiling(rows: pd.DataFrame) -> Ceiling:
    """The images of one run on which all draws agree. Raises RaysmoothError as `p_lower_histogram` does."""
    count, n = estimation_counts(rows)
    agreed = (count == n) & are_certified(rows)
    finished = int((rows["status"] != "error").sum())
    radii = np.maximum(certified_radii(rows), 0.0) if labelled(rows) else np.zeros(len(rows))
    acr_share = float(radii[agreed].sum() / radii.sum()) if radii.any() else float("nan")
    return Ceiling(int(agreed.sum()), int(agreed.sum()) / finished if finished else float("nan"), acr_share)


def _finished(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of the images without error, their kinds, as indices into KINDS, and their p_lower; int64 and float64 (N,)."""
    estimation_counts(rows)
    refuse_missing(rows, "p_lower")
    ended = (rows["status"] != "error").to_numpy(bool)
    abstained, right = flags(rows["abstain"], missing=True), flags(rows["correct"], missing=False)
    kinds = np.where(abstained, 3, np.where(rows["correct"].isna(), 2, np.where(right, 0, 1)))
    return kinds[ended], numbers(rows["p_lower"])[ended]
