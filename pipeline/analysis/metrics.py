"""Certified accuracy, ACR and the other figures of one run, from its certificate rows."""

import re
from collections.abc import Sequence
from math import fsum, inf

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import flags, numbers

FIXED = "fixed"
"""The sampling method with n draws for every image, the only one before rows had the column `sampling`."""

COMPLEMENT, RUNNER_UP, REJECTION = "1 - pA", "runner-up", "rejection"
"""The bound on the probability of every other class in a run's certificates."""

NO_REJECTOR = "none"
"""Stands for the rejector of a run without one."""

UNANSWERED = "unanswered"
"""Stands for the rejector of a run of a vision API: draws that the API gives no label count for no class."""

FIXED_SIGMA = "fixed"
"""Stands for the rule of a run with one sigma for all images."""

_DECIDE = re.compile(r"decide:radius=([^,]+)")


def certified_accuracy(rows: pd.DataFrame, radii: Sequence[float] | np.ndarray) -> np.ndarray:
    """Share of all images that are classified correctly with a radius >= r, for each r of `radii`.

    `rows` are the certificate rows of one run, N >= 1 of them; `radii` (M,) are >= 0, in the unit of the rows' radius.
    Returns float64 (M,) in [0, 1]. A wrong class, an abstention and an error row count as not certified; a radius equal
    to r counts as certified. NaN where the run is not `labelled`, and beyond its `asked_radius`. Raises RaysmoothError
    if there are no rows. Source: Cohen et al. 2019, section 4 (approximate certified test set accuracy).
    """
    if not labelled(rows):
        return np.full(len(radii), np.nan)
    return _share_at_least(certified_radii(rows), radii, asked_radius(rows))


def certified_share(rows: pd.DataFrame, radii: Sequence[float] | np.ndarray) -> np.ndarray:
    """Share of all images with a certificate of radius >= r, right or wrong: the only statement possible without
    labels.

    Shapes, ties, unknown values and errors as in `certified_accuracy`, of which it is an upper bound.
    """
    return _share_at_least(_radii(rows), radii, asked_radius(rows))


def certified_radii(rows: pd.DataFrame) -> np.ndarray:
    """Radius up to which each image counts as certified, float64 (N,).

    The image's own radius where the class is right or the run is not `labelled`; -inf for an image that counts at no
    radius, not even 0. Raises RaysmoothError if there are no rows.
    """
    right = flags(rows["correct"], missing=False) if labelled(rows) else np.ones(len(rows), bool)
    return np.where(right, _radii(rows), -np.inf)


def average_certified_radius(rows: pd.DataFrame) -> float:
    """ACR: mean over all images of radius * correct, in the unit of the radius; NaN if not `labelled`.

    Abstentions and error rows count as 0. NaN also for a run that decides one radius, as larger radii are then unknown.
    Raises RaysmoothError if there are no rows. Source: Zhai et al. 2020.
    """
    if not labelled(rows) or asked_radius(rows) < inf:
        return float("nan")
    # fsum, because a sum with rounding could exceed the true one.
    return fsum(np.maximum(certified_radii(rows), 0.0)) / len(rows)


def abstention_rate(rows: pd.DataFrame) -> float:
    """Share of all images for which the smoothed classifier abstains; error rows do not count as abstentions.

    NaN for a run that decides one radius: an image not certified there may be certified at a smaller one. Raises
    RaysmoothError if there are no rows.
    """
    _refuse_empty(rows)
    if asked_radius(rows) < inf:
        return float("nan")
    return float(np.mean(flags(rows["abstain"], missing=False) & (rows["status"] != "error").to_numpy(bool)))


def undecided_share(rows: pd.DataFrame) -> float:
    """Share of all images for which n draws did not decide whether they are certified at the run's radius.

    NaN for a run that does not decide one radius. Raises RaysmoothError if there are no rows.
    """
    _refuse_empty(rows)
    return float((rows["decision"] == "undecided").mean()) if asked_radius(rows) < inf else float("nan")


def mean_draws(rows: pd.DataFrame) -> float:
    """Mean draws per image, selection and estimation together, over the images without error.

    NaN if there are none, or if the draws are unknown.
    """
    draws = draws_made(rows)[(rows["status"] != "error").to_numpy(bool)]
    return float(draws.mean(skipna=False)) if len(draws) else float("nan")


def draws_made(rows: pd.DataFrame) -> pd.Series:
    """Draws of each image, selection and estimation together, float64; NaN where unknown, as in error rows.

    Rows without this number, being older than the column `draws` or imported, count n0 + n each, as far as these are
    known.
    """
    if "draws" in rows and not np.isnan(made := numbers(rows["draws"])).any():
        return pd.Series(made, rows.index)
    counted = (samplings(rows) == FIXED) & (rows["status"] != "error")
    planned = rows[["n0", "n"]].astype("Float64").sum(axis=1, skipna=False).where(counted)
    draws = rows["draws"].astype("Float64").fillna(planned) if "draws" in rows else planned
    return pd.Series(numbers(draws), rows.index)


def samplings(rows: pd.DataFrame) -> pd.Series:
    """The sampling method of each row, str: FIXED in rows older than the column."""
    if "sampling" not in rows:
        return pd.Series(FIXED, rows.index, dtype=object)
    return rows["sampling"].astype(object).where(rows["sampling"].notna(), FIXED)


def bounds(rows: pd.DataFrame) -> pd.Series:
    """The bound on the other classes in the run of each row, str. Rows that do not name it, being older than the column
    `noise_bound`, have RUNNER_UP if their run has any `p_upper`, otherwise COMPLEMENT.
    """
    found = pd.Series(COMPLEMENT, rows.index, dtype=object)
    if "p_upper" in rows and (own := rows["p_upper"].notna()).any():
        found = found.mask(own.groupby(rows["run_id"]).transform("any"), RUNNER_UP)
    if "noise_bound" not in rows:
        return found
    named = rows["noise_bound"].astype(object).replace("complement", COMPLEMENT)
    return named.where(named.notna(), found)


def alpha_shares(rows: pd.DataFrame, bound: pd.Series) -> pd.Series:
    """The share of alpha that the bound on the selected class takes in the run of each row, float64: 1 where the
    `bound` is COMPLEMENT and in runs that decide one radius, and 0.5 in other rows without the column `alpha_share`.
    """
    whole = (bound == COMPLEMENT) | samplings(rows).map(lambda sampling: decided_at(sampling) < inf).astype(bool)
    usual = pd.Series(np.where(whole, 1.0, 0.5), rows.index)
    if "alpha_share" not in rows:
        return usual
    known = pd.Series(numbers(rows["alpha_share"]), rows.index)
    return known.where(~whole & known.notna(), usual)


def rejectors(rows: pd.DataFrame) -> pd.Series:
    """The rejector in the run of each row, str: NO_REJECTOR where the rows have none."""
    if "rejector" not in rows:
        return pd.Series(NO_REJECTOR, rows.index, dtype=object)
    return rows["rejector"].astype(object).where(rows["rejector"].notna(), NO_REJECTOR)


def is_rejecting(rejectors: pd.Series) -> pd.Series:
    """Which of the values of `rejectors` are rejectors; bool, indexed alike."""
    return ~rejectors.isin((NO_REJECTOR, UNANSWERED))


def refers(rows: pd.DataFrame) -> bool:
    """Whether the labels of a run are references: what a vision API itself answers to the images without noise."""
    return "reference" in rows and bool(rows["reference"].eq(True).any())


def sigma_rules(rows: pd.DataFrame) -> pd.Series:
    """How the run of each row chose the sigma of an image, str: FIXED_SIGMA where all images have the run's."""
    if "sigma_rule" not in rows:
        return pd.Series(FIXED_SIGMA, rows.index, dtype=object)
    return rows["sigma_rule"].astype(object).where(rows["sigma_rule"].notna(), FIXED_SIGMA)


def asked_radius(rows: pd.DataFrame) -> float:
    """The one radius that a run decides, beyond which its rows give no information; inf for other runs."""
    if rows.empty or "sampling" not in rows or pd.isna(sampling := rows["sampling"].iloc[0]):
        return inf
    return decided_at(sampling)


def decided_at(sampling: str) -> float:
    """0.5 for "decide:radius=0.5"; inf for any other sampling method."""
    return float(found[1]) if (found := _DECIDE.fullmatch(sampling)) else inf


def error_count(rows: pd.DataFrame) -> int:
    """Number of images with an error row instead of a certificate."""
    return int((rows["status"] == "error").sum())


def unanswered_draws(rows: pd.DataFrame) -> float:
    """Estimation draws of a run that a vision API gave no label; NaN for other runs."""
    if "count_rejected" not in rows or not rejectors(rows).eq(UNANSWERED).any():
        return float("nan")
    return float(numbers(rows["count_rejected"], missing=0).sum())


def labelled(rows: pd.DataFrame) -> bool:
    """Whether the run has labels: false only if no finished row has `correct` (error rows always do).

    If only some rows lack it, these count as wrong. Raises RaysmoothError if there are no rows.
    """
    _refuse_empty(rows)
    if rows["correct"].dtype == bool:  # which has no nulls
        return True
    finished = rows.loc[rows["status"] != "error", "correct"]
    return finished.empty or bool(finished.notna().any())


def _radii(rows: pd.DataFrame) -> np.ndarray:
    """The rows' radii, -inf for a row without a certificate (an abstention is stored with radius 0)."""
    _refuse_empty(rows)
    return np.where(flags(rows["abstain"], missing=True), -np.inf, numbers(rows["radius"], missing=-np.inf))


def _share_at_least(values: np.ndarray, radii: Sequence[float] | np.ndarray, known: float) -> np.ndarray:
    """Share of `values` at or above each of `radii`; NaN for radii above `known`."""
    radii = np.asarray(radii, float)
    below = np.searchsorted(np.sort(values), radii, side="left")
    return np.where(radii <= known, (len(values) - below) / len(values), np.nan)


def _refuse_empty(rows: pd.DataFrame) -> None:
    if rows.empty:
        raise RaysmoothError("no certificate rows: give the rows of a run that has finished an image")
