"""Certificates and predictions: pure functions of label counts. They never see an image, and can be recomputed from
stored counts without a GPU. `sampling_rule` maps the paper's pseudo-code to them.
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy  # scipy.stats takes half a second to import, and is loaded on first use

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

if TYPE_CHECKING:  # it imports torch, which a report of certificates does not need
    from raysmooth.actors.noise.streams import NoiseFamily

ABSTAIN = -1
"""The prediction of a smoothed classifier that abstains."""

COMPLEMENT, RUNNER_UP, REJECTION = "complement", "runner-up", "rejection"
"""The noise bounds by name."""


@dataclass(frozen=True)
class Certificate:
    """With probability at least 1 - alpha over the draws: where `prediction` is not ABSTAIN, the smoothed classifier
    predicts it everywhere within `radius` (pixel units, in the noise family's norm) of the image.

    `p_lower` is the lower confidence bound on the selected class's probability, `count_top` its number of estimation
    draws. `p_upper` is the upper bound on the probability of every other class; None if that is 1 - p_lower.
    `count_rejected` is the number of rejected estimation draws, None without a rejector. `decision` is the answer of a
    test at one radius.
    """

    prediction: int
    radius: float
    p_lower: float
    count_top: int
    decision: str | None = None
    p_upper: float | None = None
    count_rejected: int | None = None


@dataclass(frozen=True)
class Prediction:
    """With probability at least 1 - alpha over the draws: `prediction` is ABSTAIN or the smoothed classifier's class.

    `p_value` is that of the two-sided binomial test of the top two counts, `count_top` the larger of them.
    `count_rejected` is the number of rejected draws, None without a rejector.
    """

    prediction: int
    p_value: float
    count_top: int
    count_rejected: int | None = None


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


def certify_counts(
    selection: np.ndarray,
    estimation: np.ndarray,
    noise: "NoiseFamily",
    alpha: float,
    *,
    share: float = 1.0,
    rejected: int | None = None,
) -> Certificate:
    """CERTIFY (Cohen et al. 2019, figure 2 and theorem 1).

    `selection` and `estimation` are label counts, int (num_classes,), of disjoint draws. The class is the most
    frequent one of the selection draws (of several, the lowest). Abstains unless the lower bound of its probability,
    from the estimation draws, is above 1/2. The bound takes the fraction `share` of alpha, above 0 and up to 1.

    With a rejector both counts are those of the draws that it kept, and `rejected` is the number of estimation draws
    that it rejected. A rejected draw is an outcome of its own that is never predicted: it is one of the n draws, and
    counts for no class. Abstains if all selection draws were rejected, since there is no class then.
    """
    top, count = _selected(selection, estimation)
    p_lower = lower_bound(count, int(estimation.sum()) + (rejected or 0), share * alpha)
    if p_lower <= 0.5:
        return Certificate(ABSTAIN, 0.0, p_lower, count, count_rejected=rejected)
    return Certificate(top, noise.radius(p_lower), p_lower, count, count_rejected=rejected)


def certify_runner_up(
    selection: np.ndarray,
    estimation: np.ndarray,
    noise: "NoiseFamily",
    alpha: float,
    *,
    share: float = 0.5,
    rejected: int | None = None,
) -> Certificate:
    """CERTIFY with a separate bound pB on the runner-up's probability instead of 1 - pA (Cohen et al. 2019, theorem 1,
    which has both; arguments as in `certify_counts`). The bound on pA takes the fraction `share` of alpha, above 0 and
    below 1, and pB the rest: each may fail, so together they hold with probability at least 1 - alpha. The share has
    to be fixed before the draws.

    pB must bound every class but the selected one, and is computed from the largest of their counts. This needs no
    correction for the number of classes, nor for choosing the runner-up by the same draws: let B be the likeliest of
    those classes. It is fixed before the draws, so the Clopper-Pearson upper bound of its own count is below its
    probability with probability at most (1 - share) alpha; the bound grows with the count, so that of the largest count
    is no smaller; and no class is likelier than B. 1 - pA, which holds as often as pA does, is used where it is
    smaller. So the radius is never below that of `certify_counts` at share alpha, and may exceed that at alpha if
    several classes share the remaining probability. Abstains unless pA is above pB.

    With a rejector, rejected draws compete with no class, so pB is the bound of the largest kept count: with the same
    share never larger than that of `certify_rejection`.
    """
    top, count = _selected(selection, estimation)
    others = estimation if top == ABSTAIN else np.delete(estimation, top)
    return _certify_by_two_bounds(top, count, int(others.max()), estimation, noise, alpha, share, rejected)


def certify_rejection(
    selection: np.ndarray,
    estimation: np.ndarray,
    noise: "NoiseFamily",
    alpha: float,
    *,
    share: float = 0.5,
    rejected: int | None = None,
) -> Certificate:
    """CERTIFY with a rejector (Sheikholeslami et al., Denoised smoothing with sample rejection, theorem 3.1). Arguments
    and shares of alpha as in `certify_runner_up`.

    A class other than A has at most the probability of being neither A nor rejected, 1 - p(A or R). With
    p(A or R) >= LAR the radius is sigma/2 (PhiInv(LA) + PhiInv(LAR)), which is that of theorem 1 with pB = 1 - LAR.
    1 - LAR is computed as the upper bound of the other draws, its exact mirror image, so that nothing is lost by
    rounding. 1 - pA is used where it is smaller, which can be with a share above 1/2.
    """
    top, count = _selected(selection, estimation)
    others = int(estimation.sum()) - count
    return _certify_by_two_bounds(top, count, others, estimation, noise, alpha, share, rejected)


def _selected(selection: np.ndarray, estimation: np.ndarray) -> tuple[int, int]:
    """The most frequent class of the selection draws (of several, the lowest) and its number of estimation draws;
    (ABSTAIN, 0) if no selection draw was kept.
    """
    if not selection.any():
        return ABSTAIN, 0
    top = int(np.argmax(selection))
    return top, int(estimation[top])


def _certify_by_two_bounds(
    top: int,
    count: int,
    others: int,
    estimation: np.ndarray,
    noise: "NoiseFamily",
    alpha: float,
    share: float,
    rejected: int | None,
) -> Certificate:
    """The certificate of class `top`, ABSTAIN if there is none, from `count` draws of it and `others` of what every
    other class is bounded by.
    """
    n = int(estimation.sum()) + (rejected or 0)
    p_lower = lower_bound(count, n, share * alpha)
    own, complement = upper_bound(others, n, (1 - share) * alpha), 1 - p_lower
    p_upper = min(own, complement)
    if top == ABSTAIN or p_lower <= p_upper:
        return Certificate(ABSTAIN, 0.0, p_lower, count, p_upper=p_upper, count_rejected=rejected)
    radius = noise.radius(p_lower, own) if own < complement else noise.radius(p_lower)
    return Certificate(top, radius, p_lower, count, p_upper=p_upper, count_rejected=rejected)


class Certify(Protocol):
    """A noise bound's function from counts to a certificate; arguments as in `certify_counts`."""

    def __call__(
        self,
        selection: np.ndarray,
        estimation: np.ndarray,
        noise: "NoiseFamily",
        alpha: float,
        *,
        share: float,
        rejected: int | None = None,
    ) -> Certificate: ...


@dataclass(frozen=True)
class NoiseBound:
    """A bound on the classes that were not selected. `share` is the fraction of alpha that `certify` spends on pA. If
    the other classes have a bound of their own, it can be another.
    """

    summary: str
    certify: Certify
    share: float

    @property
    def splits(self) -> bool:
        """Whether alpha is shared by two bounds."""
        return self.share < 1


NOISE_BOUNDS: Registry[NoiseBound] = Registry(
    "noise bound",
    {
        COMPLEMENT: NoiseBound("1 - pA", certify_counts, 1.0),
        RUNNER_UP: NoiseBound("from the largest other count, with a share of alpha", certify_runner_up, 0.5),
        REJECTION: NoiseBound(
            "from all draws that are neither the class's nor rejected, with a share of alpha", certify_rejection, 0.5
        ),
    },
)


def predict_counts(counts: np.ndarray, alpha: float, *, rejected: int | None = None) -> Prediction:
    """PREDICT (Cohen et al. 2019, figure 2): the most frequent label; abstains if a two-sided binomial test cannot
    distinguish it from the runner-up at level alpha (p-value > alpha).

    With a rejector, `counts` are those of the draws that it kept and `rejected` is the number of the others: given how
    many were kept, their counts are multinomial, so the test holds as it does without a rejector.
    """
    runner_up, top = (int(label) for label in np.argsort(counts, kind="stable")[-2:])
    n_top, n_both = int(counts[top]), int(counts[top] + counts[runner_up])
    p_value = float(scipy.stats.binomtest(n_top, n_both, 0.5).pvalue) if n_both else 1.0
    return Prediction(top if p_value <= alpha else ABSTAIN, p_value, n_top, rejected)


def largest_p_lower(n: int, alpha: float) -> float:
    """The lower bound if all n draws agree, alpha^(1/n): the largest that (n, alpha) can give."""
    return float(alpha ** (1 / n))


def can_certify(n: int, alpha: float, share: float = 1.0) -> bool:
    """Whether n agreeing draws certify anything: pA above 1 - pA or, where it has `share` of alpha only, above the
    bound that the rest of alpha gives for the other classes.
    """
    p_lower = largest_p_lower(n, share * alpha)
    return p_lower > 0.5 or (share < 1 and p_lower > 1 - largest_p_lower(n, (1 - share) * alpha))


def refuse_hopeless_certify(n: int, alpha: float, share: float = 1.0) -> None:
    """Raises RaysmoothError if even n agreeing draws certify nothing: all images would abstain."""
    if not can_certify(n, alpha, share):
        # No number above 0 is below 2^-1074, so that 1,075 draws are enough.
        enough = next((more for more in range(n + 1, 1076) if can_certify(more, alpha, share)), None)
        split = "" if share == 1 else f", {share:g} of it for pA,"
        remedy = "a larger --alpha" if enough is None else f"--n {enough} or more"
        raise RaysmoothError(f"n={n} draws at alpha={alpha:g}{split} can only abstain: write {remedy}")


def refuse_hopeless_predict(n: int, alpha: float) -> None:
    """Raises RaysmoothError if even n agreeing draws have a p-value, 2^(1-n), above alpha: all images would abstain."""
    if 2.0 ** (1 - n) > alpha:
        raise RaysmoothError(
            f"n={n} draws at alpha={alpha:g} can only abstain: write --n {ceil(1 - log2(alpha))} or more"
        )
