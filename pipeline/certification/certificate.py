"""Certificates and predictions: pure functions of label counts. They never see an image, and can be recomputed from
stored counts without a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log, log2
from typing import TYPE_CHECKING

import numpy as np
import scipy  # scipy.stats, half a second of imports, comes when it is first used

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

if TYPE_CHECKING:  # torch comes with it, and a report of certificates needs none
    from raysmooth.actors.noise.streams import NoiseFamily

ABSTAIN = -1
"""The prediction of a smoothed classifier that declines to predict."""


@dataclass(frozen=True)
class Certificate:
    """With probability at least 1 - alpha over the draws: where `prediction` is not ABSTAIN, the smoothed classifier
    predicts it everywhere within `radius` (pixel units, in the noise family's norm) of the image.

    `p_lower` is the lower confidence bound on the selected class's probability, `count_top` how many of the
    estimation draws it got. `p_upper` is the upper bound on the probability of every other class, where that was
    bounded by itself and not by 1 - p_lower. `decision` is the answer where only one radius was asked about.
    """

    prediction: int
    radius: float
    p_lower: float
    count_top: int
    decision: str | None = None
    p_upper: float | None = None


@dataclass(frozen=True)
class Prediction:
    """With probability at least 1 - alpha over the draws: `prediction` is ABSTAIN or the smoothed classifier's class.

    `p_value` is that of the two-sided binomial test of the top two counts, `count_top` the larger of them.
    """

    prediction: int
    p_value: float
    count_top: int


def lower_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson lower confidence bound, at level alpha, on a probability that showed `count` times in
    `n` draws.
    """
    if count <= 0:
        return 0.0
    return float(scipy.stats.beta.ppf(alpha, count, n - count + 1))


def upper_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson upper confidence bound, the mirror image of `lower_bound`."""
    if count >= n:
        return 1.0
    return float(scipy.stats.beta.isf(alpha, count + 1, n - count))


def certify_counts(selection: np.ndarray, estimation: np.ndarray, noise: "NoiseFamily", alpha: float) -> Certificate:
    """CERTIFY (Cohen et al. 2019, figure 2 and theorem 1).

    `selection` and `estimation` are label counts, int (num_classes,), of disjoint draws. The class is the most
    frequent of the selection draws (the lowest of several); abstains where the lower bound of its probability, from
    the estimation draws, is not above 1/2.
    """
    top = int(np.argmax(selection))
    count = int(estimation[top])
    p_lower = lower_bound(count, int(estimation.sum()), alpha)
    if p_lower <= 0.5:
        return Certificate(ABSTAIN, 0.0, p_lower, count)
    return Certificate(top, noise.radius(p_lower), p_lower, count)


def certify_runner_up(selection: np.ndarray, estimation: np.ndarray, noise: "NoiseFamily", alpha: float) -> Certificate:
    """CERTIFY with a bound of its own on the runner-up's probability, pB, instead of 1 - pA (Cohen et al. 2019, theorem
    1, which has both; arguments as of `certify_counts`). Each bound takes alpha / 2.

    pB must bound every class but the selected one, and is computed of the largest of their counts. That takes no
    correction for the number of classes, nor for a runner-up that the same draws chose: let B be the likeliest of those
    classes. It is fixed before the draws, so Clopper-Pearson's upper bound of its own count is below its probability
    with probability at most alpha / 2; the bound grows with the count, so that of the largest count is no smaller; and
    no class is likelier than B. 1 - pA, which holds as often as pA does, is taken where it is smaller: so the radius is
    never below that of `certify_counts` at alpha / 2, and where other classes share what the selected one leaves it may
    be larger than at alpha. Abstains where pA is not above pB.
    """
    top, n = int(np.argmax(selection)), int(estimation.sum())
    count, largest = int(estimation[top]), int(np.delete(estimation, top).max())
    p_lower = lower_bound(count, n, alpha / 2)
    own, complement = upper_bound(largest, n, alpha / 2), 1 - p_lower
    p_upper = min(own, complement)
    if p_lower <= p_upper:
        return Certificate(ABSTAIN, 0.0, p_lower, count, p_upper=p_upper)
    radius = noise.radius(p_lower, own) if own < complement else noise.radius(p_lower)
    return Certificate(top, radius, p_lower, count, p_upper=p_upper)


@dataclass(frozen=True)
class NoiseBound:
    """What bounds the classes that were not selected: `certify` is `certify_counts`, or of its kind, and bounds pA at
    `share` of alpha.
    """

    summary: str
    certify: Callable[[np.ndarray, np.ndarray, "NoiseFamily", float], Certificate]
    share: float


NOISE_BOUNDS: Registry[NoiseBound] = Registry(
    "noise bound",
    {
        "complement": NoiseBound("1 - pA, as certify does", certify_counts, 1.0),
        "runner-up": NoiseBound("that of the largest other count, with half of alpha for each", certify_runner_up, 0.5),
    },
)


def predict_counts(counts: np.ndarray, alpha: float) -> Prediction:
    """PREDICT (Cohen et al. 2019, figure 2): the most frequent label, unless a two-sided binomial test cannot tell it
    from the runner-up at level alpha (p-value > alpha).
    """
    runner_up, top = (int(label) for label in np.argsort(counts, kind="stable")[-2:])
    n_top, n_both = int(counts[top]), int(counts[top] + counts[runner_up])
    p_value = float(scipy.stats.binomtest(n_top, n_both, 0.5).pvalue) if n_both else 1.0
    return Prediction(top if p_value <= alpha else ABSTAIN, p_value, n_top)


def largest_p_lower(n: int, alpha: float) -> float:
    """The lower bound where all n draws agree, alpha^(1/n): no certificate of (n, alpha) can be above it."""
    return float(alpha ** (1 / n))


def refuse_hopeless_certify(n: int, alpha: float) -> None:
    """Raises RaysmoothError where even n agreeing draws leave the lower bound at or below 1/2: all images would abstain."""
    if largest_p_lower(n, alpha) <= 0.5:
        enough = ceil(log(alpha) / log(0.5))
        enough += largest_p_lower(enough, alpha) <= 0.5
        raise RaysmoothError(f"n={n} draws at alpha={alpha:g} can only abstain: write --n {enough} or more")


def refuse_hopeless_predict(n: int, alpha: float) -> None:
    """Raises RaysmoothError where even n agreeing draws have a p-value, 2^(1-n), above alpha: all images would abstain."""
    if 2.0 ** (1 - n) > alpha:
        raise RaysmoothError(
            f"n={n} draws at alpha={alpha:g} can only abstain: write --n {ceil(1 - log2(alpha))} or more"
        )
