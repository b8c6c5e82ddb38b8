"""Rejected draws: how many, of which images, and how many are left for the top class."""

from collections.abc import Mapping
from math import inf

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import flags, numbers
from raysmooth.pipeline.analysis.metrics import UNANSWERED, decided_at, rejectors, samplings
from raysmooth.pipeline.analysis.run_checks import estimation_counts, named, refuse_missing

OUTCOMES = ("correct", "wrong", "unlabelled", "abstained")
"""What becomes of an image without error: certified for the right class, for a wrong one, for any where there is no
label, or not certified.
"""


def has_rejector(rows: pd.DataFrame) -> bool:
    """Whether any of the rows, which may be those of several runs, records how many of a fixed number of draws were
    rejected: in runs that decide one radius, draws stop by what was rejected. Runs of vision APIs count if any of their
    draws is without an answer.
    """
    if "count_rejected" not in rows or not (known := rows["count_rejected"].notna()).any():
        return False
    answering = rejectors(rows).eq(UNANSWERED)
    known &= ~answering | (rows["count_rejected"].where(answering) > 0).fillna(False).astype(bool)
    fixed = {method for method in samplings(rows).unique() if decided_at(method) == inf}
    return bool((known & samplings(rows).isin(fixed)).any())


def rejection_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """The estimation draws of one run's images without error: int64 `rejected`, `top` (kept, and of the selected class)
    and `n` (all), `outcome` (an index into OUTCOMES) and Int64 `label`; indexed as `rows`.

    Raises RaysmoothError for a run without a rejector, or one that decides one radius; for images whose numbers of
    draws are unknown; if there are no rows, or rows of several runs.
    """
    count, n = estimation_counts(rows)
    if not has_rejector(rows):
        raise RaysmoothError(
            f"{named(rows)} has no rejected draws of a fixed number: certify with --rejector confidence:threshold=0.6, "
            "for example, and --sampling fixed"
        )
    refuse_missing(rows, "count_rejected")
    rejected, abstained = numbers(rows["count_rejected"]), flags(rows["abstain"], missing=True)
    right = flags(rows["correct"], missing=False)
    outcome = np.where(abstained, 3, np.where(rows["correct"].isna(), 2, np.where(right, 0, 1)))
    found = pd.DataFrame(
        {"rejected": rejected, "top": count, "n": n, "outcome": outcome, "label": rows["label"].astype("Int64")},
        rows.index,
    )[(rows["status"] != "error").to_numpy(bool)]
    if found[["rejected", "top", "n"]].isna().any(axis=None):
        raise RaysmoothError(f"{named(rows)} has images without count_rejected, count_top and n_used: certify it again")
    return found.astype(dict.fromkeys(("rejected", "top", "n"), np.int64))


def rejection_by_class(rows: pd.DataFrame) -> pd.DataFrame:
    """Rejected draws of one run by class and outcome. One row for all images without error, whose `label` is null and
    `all` true, then one for each label, ascending, null last.

    For all images of the row, and for those of each of OUTCOMES (whose name follows after a blank): `images`, `draws`
    and `rejected`, int64. Raises RaysmoothError as `rejection_counts` does.
    """
    counts = rejection_counts(rows)
    codes, labels = pd.factorize(counts["label"].array, sort=True, use_na_sentinel=False)
    lines = [{"label": pd.NA, "all": True, **_sums(counts)}]
    if not counts["label"].isna().all():
        lines += [{"label": label, "all": False, **_sums(counts[codes == code])} for code, label in enumerate(labels)]
    return pd.DataFrame(lines).astype({"label": "Int64"})


def _sums(counts: pd.DataFrame) -> Mapping[str, int]:
    sums: dict[str, int] = {}
    for name, own in [("", counts), *((f" {name}", counts[counts["outcome"] == i]) for i, name in enumerate(OUTCOMES))]:
        sums |= {
            f"images{name}": len(own),
            f"draws{name}": int(own["n"].sum()),
            f"rejected{name}": int(own["rejected"].sum()),
        }
    return sums


def rejection_histogram(rows: pd.DataFrame, bins: int) -> np.ndarray:
    """Images of one run by their rejected draws (first axis) and their kept draws of the selected class (second axis),
    each in `bins` equal parts of all n draws; int64 (bins, bins).

    No image lies above the diagonal on which the two make up all n draws: a number of rejected draws between two bins
    counts to the upper one, a number of kept ones to the lower, so that an image on the diagonal is in a bin that the
    diagonal crosses, whatever the numbers. Raises RaysmoothError as `rejection_counts` does.
    """
    counts = rejection_counts(rows)
    rejected, top, n = (counts[name].to_numpy() for name in ("rejected", "top", "n"))
    n = np.maximum(n, 1)
    x = np.minimum(rejected * bins // n, bins - 1)
    y = np.maximum(-(-top * bins // n) - 1, 0)
    return np.bincount(bins * x + y, minlength=bins * bins).reshape(bins, bins)
