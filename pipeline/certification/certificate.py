"""Certificates and predictions: pure functions of label counts. They never see an image, and can be recomputed from
stored counts without a GPU. `sampling_rule` maps the paper's pseudo-code to them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log, log2
from typing import TYPE_CHECKING

import numpy as np
import scipy  # scipy.stats takes half a second to import, and is loaded on first use

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

if TYPE_CHECKING:  # it imports torch, which a report of certificates does not need
    from raysmooth.actors.noise.streams import NoiseFamily

ABSTAIN = -1
"""The prediction of a smoothed classifier that abstains."""


@dataclass(frozen=True)
class Certificate:
    """With probability at least 1 - alpha over the draws: where `prediction` is not ABSTAIN, the smoothed classifier
    predicts it everywhere within `radius` (pixel units, in the noise family's norm) of the image.

    `p_lower` is the lower confidence bound on the selected class's probability, `count_top` its number of estimation
    draws. `p_upper` is the upper bound on the probability of every other class; None if that is 1 - p_lower.
    `decision` is the answer of a test at one radius.
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
    """One-sided Clopper-Pearson lower confidence bound, at level alpha, on a probability with `count` successes in `n`
    draws: LowerConfBound(count, n, 1 - alpha) of Cohen et al. 2019.
    """
    if count <= 0:
        return 0.0
    return float(scipy.stats.beta.ppf(alpha, count, n - count + 1))


def upper_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson upper confidence bound, the counterpart of `lower_bound`."""
    if count >= n:
        return 1.0
    return float(scipy.stats.beta.isf(alpha, count + 1, n - count))


def certify_counts(selection: np.ndarray, estimation: np.ndarray, noise: "NoiseFamily", alpha: float) -> Certificate:
    """CERTIFY (Cohen et al. 2019, figure 2 and theorem 1).

    `selection` and `estimation` are label counts, int (num_classes,), of disjoint draws. The class is the most
    frequent one of the selection draws (of several, the lowest). Abstains unless the lower bound of its probability,
    from the estimation draws, is above 1/2.
    """
    top = int(np.argmax(selection))
    count = int(estimation[top])
    p_lower = lower_bound(count, int(estimation.sum()), alpha)
    if p_lower <= 0.5:
        return Certificate(ABSTAIN, 0.0, p_lower, count)
    return Certificate(top, noise.radius(p_lower), p_lower, count)


def certify_runner_up(selection: np.ndarray, estimation: np.ndarray, noise: "NoiseFamily", alpha: float) -> Certificate:
    """CERTIFY with a separate bound pB on the runner-up's probability instead of 1 - pA (Cohen et al. 2019, theorem 1,
    which has both; arguments as in `certify_counts`). Each bound takes alpha / 2.

    pB must bound every class but the selected one, and is computed from the largest of their counts. This needs no
    correction for the number of classes, nor for choosing the runner-up by the same draws: let B be the likeliest of
    those classes. It is fixed before the draws, so the Clopper-Pearson upper bound of its own count is below its
    probability with probability at most alpha / 2; the bound grows with the count, so that of the largest count is no
    smaller; and no class is likelier than B. 1 - pA, which holds as often as pA does, is used where it is smaller. So
    the radius is never below that of `certify_counts` at alpha / 2, and may exceed that at alpha if several classes
    share the remaining probability. Abstains unless pA is above pB.
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
    """A bound on the classes that were not selected: `certify` has the signature of `certify_counts`, and spends the
    fraction `share` of alpha on pA.
    """

    summary: str
    certify: Callable[[np.ndarray, np.ndarray, "NoiseFamily", float], Certificate]
    share: float


NOISE_BOUNDS: Registry[NoiseBound] = Registry(
    "noise bound",
    {
        "complement": NoiseBound("1 - pA, as certify does", certify_counts, 1.0),
        "runner-up": NoiseBound(
            "from the largest other count, with half of alpha for each bound", certify_runner_up, 0.5
        ),
    },
)


def predict_counts(counts: np.ndarray, alpha: float) -> Prediction:
    """PREDICT (Cohen et al. 2019, figure 2): the most frequent label; abstains if a two-sided binomial test cannot
    distinguish it from the runner-up at level alpha (p-value > alpha).
    """
    runner_up, top = (int(label) for label in np.argsort(counts, kind="stable")[-2:])
    n_top, n_both = int(counts[top]), int(counts[top] + counts[runner_up])
    p_value = float(scipy.stats.binomtest(n_top, n_both, 0.5).pvalue) if n_both else 1.0
    return Prediction(top if p_value <= alpha else ABSTAIN, p_value, n_top)


def largest_p_lower(n: int, alpha: float) -> float:
    """The lower bound if all n draws agree, alpha^(1/n): the largest that (n, alpha) can give."""
    return float(alpha ** (1 / n))


def refuse_hopeless_certify(n: int, alpha: float) -> None:
    """Raises RaysmoothError if even n agreeing draws leave the lower bound at 1/2 or less: all images would abstain."""
    if largest_p_lower(n, alpha) <= 0.5:
        enough = ceil(log(alpha) / log(0.5))
        enough += largest_p_lower(enough, alpha) <= 0.5
        raise RaysmoothError(f"n={n} draws at alpha={alpha:g} can only abstain: write --n {enough} or more")


def refuse_hopeless_predict(n: int, alpha: float) -> None:
    """Raises RaysmoothError if even n agreeing draws have a p-value, 2^(1-n), above alpha: all images would abstain."""
    if 2.0 ** (1 - n) > alpha:
        raise RaysmoothError(
            f"n={n} draws at alpha={alpha:g} can only abstain: write --n {ceil(1 - log2(alpha))} or more"
        )
