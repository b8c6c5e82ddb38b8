"""Statements about all images of a run at once. A certificate holds with probability 1 - alpha for its image alone: of
10,000 at alpha = 0.001 ten may be wrong.
"""

import numpy as np
import pandas as pd
from scipy.stats import beta, binom

from actors.noise import NoiseFamily
from actors.noise_families import NOISES, GaussianLinf, noise_family
from actors.refusal import Refusal
from pipeline.certificate import ABSTAIN
from pipeline.one_run import are_certified, estimation_counts, named, refuse_no_probability, shared


def wrong_certificates_bound(images: int, alpha: float, delta: float) -> int:
    """With probability at least 1 - delta at most so many certificates of a run are wrong.

    Each image's is with probability at most alpha, independently given the images, so that their number is
    stochastically no larger than Binomial(images, alpha), whose 1 - delta quantile this is. `images` are all that were
    tried, abstentions included: the number that came out certified depends on the same draws, and would void the bound.
    """
    refuse_no_probability(delta)
    return int(binom.ppf(1 - delta, images, alpha))


def familywise(rows: pd.DataFrame, delta: float, noise: NoiseFamily | None = None) -> pd.DataFrame:
    """The rows of one run with certificates at level delta / N, which hold for all N images at once, at all radii, with
    probability at least 1 - delta (Bonferroni: no independence needed).

    New are alpha, p_lower (Clopper-Pearson of count_top among n_used), radius, abstain, prediction and correct; all
    else is as it was. It is CERTIFY's bound, 1 - p_lower for the runner-up, whatever bound the rows had. An image that
    abstained still does: which class it was about is not in its row. N is the size of the run's index set, finished or
    not. Adaptive draws will do: their number was fixed by other draws. `noise` gives radii; by default it is that of
    the rows. Raises Refusal for a run that decides one radius (its draws stopped when its own alpha was reached), for
    rows without counts, for noise that must be given, and as `accuracy_intervals` does.
    """
    refuse_no_probability(delta)
    count, n = estimation_counts(rows)
    noise = noise or _noise_of(rows)
    alpha = delta / family_size(rows)
    p_lower = _lower_bounds(count, n, alpha)
    finished = (rows["status"] != "error").to_numpy(bool)
    certified = are_certified(rows) & (p_lower > 0.5)
    abstain = finished & ~certified
    levels, places = np.unique(p_lower[certified], return_inverse=True)
    radius = np.where(finished, 0.0, np.nan)
    radius[certified] = np.array([noise.radius(level) for level in levels], float)[places]
    return rows.assign(
        alpha=alpha,
        p_lower=p_lower,
        radius=radius,
        abstain=abstain,
        prediction=rows["prediction"].mask(abstain, ABSTAIN),
        correct=rows["correct"].mask(abstain & rows["correct"].notna(), False),
    )


def holm(rows: pd.DataFrame, radius: float, delta: float, noise: NoiseFamily | None = None) -> pd.DataFrame:
    """Which images of one run are certified at `radius` (>= 0), all of these answers right at once with probability at
    least 1 - delta; one row an image, indexed as `rows`.

    Columns: image_id, p_value, certified, correct (that of `rows`, false where it is not certified). p_value is
    P(Binomial(n_used, p0) >= count_top), where p0 is the probability that the radius takes (`NoiseFamily.needed`): of
    all classes that do not have it, one with p0 itself gets so many draws most easily. It is 1 for abstentions, errors
    and images not finished yet, all of which count among the N. Holm 1979 holds the smallest against delta / N, the
    next against delta / (N - 1), and so on until one is larger: all that `familywise` certifies at this radius are
    among these, but the answers are for it alone. Raises Refusal as `familywise` does.
    """
    refuse_no_probability(delta)
    count, n = estimation_counts(rows)
    p0 = (noise or _noise_of(rows)).needed(radius)
    own = are_certified(rows)
    p_value = np.ones(len(rows))
    p_value[own] = binom.sf(count[own] - 1, n[own], p0)
    unseen = np.ones(family_size(rows) - len(rows))
    certified = holm_rejects(np.append(p_value, unseen), delta)[: len(rows)]
    correct = rows["correct"].mask(~certified & rows["correct"].notna(), False)
    return pd.DataFrame(
        {"image_id": rows["image_id"], "p_value": p_value, "certified": certified, "correct": correct}, rows.index
    )


def holm_rejects(p_values: np.ndarray, delta: float) -> np.ndarray:
    """Which hypotheses Holm 1979 rejects in each family, the last axis of `p_values`; bool, the same shape.

    (That of statsmodels collects garbage at each call, for 0.1 s.)
    """
    order = np.argsort(p_values, axis=-1, kind="stable")
    small = np.take_along_axis(p_values, order, -1) <= delta / np.arange(p_values.shape[-1], 0, -1)
    rejected = np.zeros(p_values.shape, bool)
    np.put_along_axis(rejected, order, np.logical_and.accumulate(small, axis=-1), -1)
    return rejected


def family_size(rows: pd.DataFrame) -> int:
    """N: all images of the run's index set, so that it does not change while a run goes on; at least the rows."""
    images = shared(rows, "images")
    return max(len(rows), 0 if images is None else int(images))


def _lower_bounds(count: np.ndarray, n: np.ndarray, alpha: float) -> np.ndarray:
    """`lower_bound` of each pair, float64 (N,), each different one computed once; NaN where they are unknown."""
    pairs, places = np.unique(np.column_stack([count, n]), axis=0, return_inverse=True)
    bounds = beta.ppf(alpha, pairs[:, 0], pairs[:, 1] - pairs[:, 0] + 1)
    return np.where(pairs[:, 0] == 0, 0.0, bounds)[places]


def _noise_of(rows: pd.DataFrame) -> NoiseFamily:
    name, norm, scale = (shared(rows, column) for column in ("noise", "norm", "sigma"))
    if name not in NOISES or scale is None or norm == GaussianLinf.norm:  # which takes the images' size besides
        raise Refusal(f"{named(rows)} has {name} noise and the {norm} norm: its noise must be given, with its radius")
    return noise_family(name, float(scale), norm)
