"""Two runs compared image by image at one radius."""

from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import asked_radius, certified_radii, labelled, refers
from raysmooth.pipeline.analysis.paired_difference import difference_interval
from raysmooth.pipeline.analysis.run_checks import named, refuse_no_probability, shared

SAME = ("dataset", "split", "norm")
"""Columns that two runs must share for image ids and radii to be comparable."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Which of the images that two runs, a and b, both have count as certified at `radius`, and in which run.

    `both`, `only_a`, `only_b` and `neither` add up to `images`; `left_out` counts the images of only one run. `p_value`
    is that of McNemar's exact test, two-sided: if neither procedure were better, an image on which they differ would be
    certified by a with probability 1/2. `difference` is a's share minus b's; [`low`, `high`] contains the difference of
    the two procedures' certified accuracies among images like these with probability at least 1 - delta. If the runs
    differ on few images the interval is long, and may contain 0 though p_value is below delta. Neither is about the
    truly certifiable share, which abstentions hide.

    `differing` has one row per image on which they differ: image_id, label, certified_by ("a" or "b"), radius_a and
    radius_b (NaN where the run does not count the image at any radius: abstained, failed, or wrong).
    """

    radius: float
    images: int
    left_out: int
    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    difference: float
    low: float
    high: float
    delta: float
    differing: pd.DataFrame

    @property
    def table(self) -> pd.DataFrame:
        """Counts by a (rows) and b (columns): certified, not certified."""
        sides = ["certified", "not certified"]
        counts = [[self.both, self.only_a], [self.only_b, self.neither]]
        return pd.DataFrame(counts, pd.Index(sides, name="a"), pd.Index(sides, name="b"))


def compare(rows_a: pd.DataFrame, rows_b: pd.DataFrame, radius: float, delta: float = 0.05) -> Comparison:
    """Compare the rows of two runs at `radius` (>= 0), on the images that both have.

    As in `certified_accuracy`, an image counts if its class is right (any class, without labels) and its radius is at
    least `radius`. Raises RaysmoothError for a negative or infinite radius and for delta outside (0, 1); if there are
    no rows, or rows of several runs; if the two differ in data set, split or norm, in having labels, or in an image's
    label (unless one is what a vision API itself answers, so that labels may differ); if they share no image; and if
    one decides another radius, as its certificates at this one are then unknown.
    """
    refuse_no_probability(delta)
    if not (isfinite(radius) and radius >= 0):
        raise RaysmoothError(f"radius {radius} for a comparison: write a finite number >= 0, such as 0.5")
    _refuse_unlike(rows_a, rows_b, radius)
    pairs = _reached(rows_a).merge(_reached(rows_b), on="image_id", suffixes=("_a", "_b"), validate="one_to_one")
    if pairs.empty:
        raise RaysmoothError(
            f"{named(rows_a)} and {named(rows_b)} have no image in common: certify the same ones "
            "(--start, --skip, --max)"
        )
    unlike = pairs[(pairs["label_a"] != pairs["label_b"]).fillna(False)]
    if unlike.size and not (refers(rows_a) or refers(rows_b)):
        image, *labels = unlike[["image_id", "label_a", "label_b"]].iloc[0]
        raise RaysmoothError(
            f"image {image} has label {labels[0]} in one run and {labels[1]} in the other: not the same data"
        )
    a, b = (pairs[f"radius_{run}"].to_numpy(float) >= radius for run in "ab")
    both, only_a, only_b, neither = (int(cell.sum()) for cell in (a & b, a & ~b, ~a & b, ~a & ~b))
    low, high = difference_interval(only_a, only_b, len(pairs), delta)
    reached = pairs[["radius_a", "radius_b"]].replace(-np.inf, np.nan)
    differing = pairs[["image_id"]].assign(
        label=pairs["label_a"].fillna(pairs["label_b"]), certified_by=np.where(a, "a", "b"), **reached
    )
    return Comparison(
        radius=radius,
        images=len(pairs),
        left_out=len(rows_a) + len(rows_b) - 2 * len(pairs),
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        p_value=float(mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue),
        difference=(only_a - only_b) / len(pairs),
        low=low,
        high=high,
        delta=delta,
        differing=differing[a != b].sort_values("image_id", ignore_index=True),
    )


def _refuse_unlike(rows_a: pd.DataFrame, rows_b: pd.DataFrame, radius: float) -> None:
    a, b = named(rows_a), named(rows_b)
    if labelled(rows_a) != labelled(rows_b):
        raise RaysmoothError(f"only one of {a} and {b} has labels: compare two runs with labels, or two without")
    for column in SAME:
        of_a, of_b = shared(rows_a, column), shared(rows_b, column)
        if of_a != of_b:
            raise RaysmoothError(f"{a} has {column} {of_a} and {b} {of_b}: compare runs of the same {', '.join(SAME)}")
    asked = [asked_radius(rows) for rows in (rows_a, rows_b)]
    if len(set(asked) - {inf}) == 2:
        raise RaysmoothError(
            f"{a} decides radius {asked[0]} and {b} radius {asked[1]}: they have no radius in common, choose another"
        )
    for name, own in ((a, asked[0]), (b, asked[1])):
        if own not in (inf, radius):
            raise RaysmoothError(
                f"{name} decides radius {own}, its certificates at {radius} are unknown: write --radius {own}"
            )


def _reached(rows: pd.DataFrame) -> pd.DataFrame:
    """image_id, label and the radius up to which the image counts as certified, -inf if at no radius."""
    facts = {"image_id": rows["image_id"], "label": rows["label"].astype("Int64"), "radius": certified_radii(rows)}
    return pd.DataFrame(facts)
