"""Holm's procedure: which images of a run are certified at one radius, with all answers right at once.

`recertify`'s familywise gives certificates that hold at all radii at once, each at delta / N. Answers at one radius
only certify more images at the same delta.
"""

import numpy as np
import pandas as pd
from scipy.special import betainc

from raysmooth.actors.noise.families import NOISES, GaussianLinf, noise_family
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import numbers
from raysmooth.pipeline.analysis.metrics import sigma_rules
from raysmooth.pipeline.analysis.run_checks import (
    are_certified,
    estimation_counts,
    named,
    refuse_no_probability,
    shared,
)
from raysmooth.pipeline.analysis.sigmas.distribution import has_image_sigmas
from raysmooth.pipeline.store.sigma_rules import is_certified_rule


def holm(rows: pd.DataFrame, radius: float, delta: float) -> pd.DataFrame:
    """Which images of one run are certified at `radius` (>= 0), all of these answers right at once with probability at
    least 1 - delta; one row per image, indexed as `rows`.

    Columns: image_id, label, p_value; alone, bonferroni and holm: whether the image is certified, for whatever class,
    by its own certificate (wrong with probability at most alpha), at level delta / N, and by Holm; correct, which is
    about the class. p_value is P(Binomial(n_used, p0) >= count_top), where p0 is the class probability that the radius
    requires (`NoiseFamily.needed`): among all probabilities that are too small, p0 itself yields such a count most
    easily. It is 1 for abstentions, errors and unfinished images, all of which count among the N. Holm 1979 compares
    the smallest p-value with delta / N, the next with delta / (N - 1), and so on until one is larger. Raises
    RaysmoothError for a run that decides one radius (its draws stopped at its own alpha), for rows without counts, and
    for a norm whose required probability does not follow from the rows.
    """
    refuse_no_probability(delta)
    count, n = estimation_counts(rows)
    p0 = _needed(rows, radius)
    own = are_certified(rows)
    p_value = np.ones(len(rows))
    drawn = own & (np.nan_to_num(count) > 0)
    p_value[drawn] = betainc(count[drawn], n[drawn] - count[drawn] + 1, p0[drawn])
    family = family_size(rows)
    return pd.DataFrame(
        {
            "image_id": rows["image_id"],
            "label": rows["label"].astype("Int64"),
            "p_value": p_value,
            "alone": own & (rows["radius"].astype(float) >= radius).to_numpy(),
            "bonferroni": p_value <= delta / family,
            "holm": holm_rejects(np.append(p_value, np.ones(family - len(rows))), delta)[: len(rows)],
            "correct": rows["correct"],
        },
        rows.index,
    )


def holm_rejects(p_values: np.ndarray, delta: float) -> np.ndarray:
    """Which hypotheses Holm 1979 rejects in each family, the last axis of `p_values`; bool, the same shape.

    (The version of statsmodels collects garbage at each call, which takes 0.1 s.)
    """
    order = np.argsort(p_values, axis=-1, kind="stable")
    small = np.take_along_axis(p_values, order, -1) <= delta / np.arange(p_values.shape[-1], 0, -1)
    rejected = np.zeros(p_values.shape, bool)
    np.put_along_axis(rejected, order, np.logical_and.accumulate(small, axis=-1), -1)
    return rejected


def family_size(rows: pd.DataFrame) -> int:
    """N: the size of the run's index set, which does not change while the run continues; at least the rows."""
    images = shared(rows, "images")
    return max(len(rows), 0 if images is None else int(images))


def _needed(rows: pd.DataFrame, radius: float) -> np.ndarray:
    """The class probability that `radius` requires of each image, at its own sigma; float64 (N,)."""
    rule = str(sigma_rules(rows).iloc[0])
    if is_certified_rule(rule):
        raise RaysmoothError(
            f"{named(rows)} certifies the sigma of each image too, which its counts do not: choose other runs"
        )
    noise, needed = _noise_of(rows), np.empty(len(rows))
    own = numbers(rows["image_sigma"]) if has_image_sigmas(rows) else np.full(len(rows), np.nan)
    for sigma in np.unique(own):
        here = (own == sigma) | (np.isnan(own) & np.isnan(sigma))
        needed[here] = (noise if np.isnan(sigma) else _noise_of(rows, float(sigma))).needed(radius)
    return needed


def _noise_of(rows: pd.DataFrame, sigma: float | None = None) -> NoiseFamily:
    """The noise of a run, or that of its images with this sigma."""
    name, norm, scale = (shared(rows, column) for column in ("noise", "norm", "sigma"))
    if norm == GaussianLinf.norm:  # needs the size of the images too
        raise RaysmoothError(
            f"{named(rows)} has the {norm} norm: use its source run in l2, at the radius times the square root of the "
            "number of an image's coordinates"
        )
    if name not in NOISES or scale is None:
        raise RaysmoothError(f"{named(rows)} has {name} noise: certify it with raysmooth")
    return noise_family(name, float(scale if sigma is None else sigma), norm)
