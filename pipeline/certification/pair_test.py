"""Decisions at one radius where the other classes have a bound of their own, as with a rejector: is pA far enough above
the other classes?

Let (a, b) be a pair of probabilities, fixed before the estimation draws, whose radius is at least the requested one.
Where the image is not certified at that radius, pA < a or pB > b for each such pair, pB being the probability of the
likeliest other class B: otherwise its own radius would be no smaller. So one of two hypotheses is true, "pA <= a" or
"pB >= b", and the smaller of the evidence against the one (`evidence_above` of A's count) and against the other
(`evidence_below` of B's) is at most that against the true one, a nonnegative supermartingale that starts at 1. Which of
them is true does not depend on the draws. The weighted mean over pairs, with weights that sum to 1 and are fixed as
well, is therefore below a supermartingale that starts at 1, and by Ville's inequality it ever reaches 1/alpha with
probability at most alpha, at any stopping time. Alpha is not split: only one of the hypotheses needs to be true for a
certificate to be wrong, and both must be rejected for there to be one (an intersection-union test).

B is not known. The evidence against "pB >= b" falls as its count grows, so that of the largest count of any other class
is at most B's: no correction for the number of classes is needed. The bound `rejection` has the count of all draws that
are neither A's nor rejected, whose probability is at least pB.

Estimation draws are independent of selection draws, so weights may depend on these: half of the weight is spread over
all pairs, half is around the pair that the shares of the selection draws favour. At sigma 1, alpha 0.001, n0 = 100 and
n = 10,000, an image with (pA, pB, pR) = (0.6, 0.025, 0.35) has the radius 1.107: a radius of 0.66 takes 560 draws on
average, and 0.89 takes 2,600.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import log

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.late_imports import LateModule
from raysmooth.pipeline.certification.certificate import COMPLEMENT, REJECTION, RUNNER_UP, Certificate
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected
from raysmooth.pipeline.certification.sampling_rule import Counts
from raysmooth.pipeline.certification.sequential_test import (
    CERTIFIED,
    NOT_CERTIFIED,
    UNDECIDED,
    Decide,
    evidence_below,
)

special = LateModule("scipy.special")  # takes a quarter of a second to import

PAIRS, NEAR = 64, 3.0
"""The number of pairs, equally far apart in PhiInv(b), and the standard deviation, in pairs, of the weights around the
favoured one. With 32 pairs an image whose radius is a tenth above the requested one is certified half as often.
"""


@dataclass(frozen=True)
class DecideByPairs(Decide):
    """As `Decide`, by the test of this module. "not certified" requires for each pair evidence at alpha that pA is
    below a, or that the class which was second in the selection draws is above b: an image for which one of the pairs
    holds is given up with probability at most 2 alpha (a matter of power).
    """

    bound: str = RUNNER_UP

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """A and b, float64 (PAIRS,) each, ascending: the smallest a whose radius with b is at least the requested one.
        In the last pair b is 1 - a, where the bound on pA is enough. Empty where no probability is large enough.
        """
        most = 1 - self.p0
        if most <= 0:
            return np.empty(0), np.empty(0)
        least = min(3 / self.n, most / 2)
        b = special.ndtr(np.linspace(special.ndtri(least), special.ndtri(most), PAIRS))
        a = [least_top(self.noise, self.radius, float(other), self.p0) for other in b[:-1]]
        return np.array([*a, self.p0]), np.array([*b[:-1], most])

    def weights(self, count: int, other: int, made: int) -> np.ndarray:
        """Weights of the pairs, (PAIRS,), from `made` selection draws: `count` of the class, `other` of the others."""
        a, b = self.pairs
        top, rest = (count + 0.5) / (made + 1), (other + 0.5) / (made + 1)
        gain = np.minimum(_growth(top, a), np.append(_growth(1 - rest, 1 - b)[:-1], np.inf))
        near = np.exp(-(((np.arange(len(a)) - np.argmax(gain)) / NEAR) ** 2) / 2)
        return (1 / len(a) + near / near.sum()) / 2

    def decision(self, counts: Counts) -> str:
        selection, _ = kept_and_rejected(counts[Role.SELECTION], self.rejecting)
        estimation, rejected = kept_and_rejected(counts[Role.ESTIMATION], self.rejecting)
        if not selection.any():
            return NOT_CERTIFIED
        if not len(self.pairs[0]):
            return UNDECIDED
        top, made = int(np.argmax(selection)), int(estimation.sum()) + (rejected or 0)
        chosen, drawn = np.delete(selection, top), np.delete(estimation, top)
        second = int(np.argmax(chosen))
        if self.bound == REJECTION:
            before, most, rival = int(chosen.sum()), int(drawn.sum()), int(drawn.sum())
        else:
            before, most, rival = int(chosen[second]), int(drawn.max()), int(drawn[second])
        count, threshold = int(estimation[top]), -log(self.alpha)
        weights = self.weights(int(selection[top]), before, int(counts[Role.SELECTION].sum()))
        if self._evidence(count, most, made, weights) >= threshold:
            return CERTIFIED
        if evidence_below(count, made, self.p0) < threshold:  # which would refute the last pair
            return UNDECIDED
        a, b = (of_pair[:-1] for of_pair in self.pairs)
        refuted = np.maximum(log_evidence_below(count, made, a), log_evidence_above(rival, made, b)) >= threshold
        return NOT_CERTIFIED if refuted.all() else UNDECIDED

    def conclude(self, counts: Counts) -> Certificate:
        """The requested radius if the image is certified there, otherwise an abstention. The test is of the radius, and
        bounds neither probability by itself: `p_lower` is 0.
        """
        return self._concluded(counts, 0.0)

    def reaches(self, n: int, radius: float) -> bool:
        """Whether `n` draws that all agree certify `radius`."""
        counts = {Role.SELECTION: np.array([self.n0, 0]), Role.ESTIMATION: np.array([n, 0])}
        return replace(self, n=n, radius=radius, rejecting=False).decision(counts) == CERTIFIED

    def _evidence(self, count: int, other: int, made: int, weights: np.ndarray) -> float:
        """Log of the weighted mean, over pairs, of the smaller evidence of two; in the last pair pA's alone counts."""
        a, b = self.pairs
        of_others = np.append(log_evidence_below(other, made, b)[:-1], np.inf)
        return float(special.logsumexp(np.minimum(log_evidence_above(count, made, a), of_others), b=weights))


def decision_test(
    n0: int, n: int, alpha: float, noise: NoiseFamily, radius: float, bound: str, rejecting: bool = False
) -> Decide:
    """The test of a radius with that noise bound, an entry of NOISE_BOUNDS."""
    given = (n0, n, alpha, noise, radius, rejecting)
    return Decide(*given) if bound == COMPLEMENT else DecideByPairs(*given, bound)


def least_top(noise: NoiseFamily, radius: float, p_other: float, enough: float) -> float:
    """The smallest p_top, up to `enough`, whose radius with `p_other` is at least `radius`; rounded up, never down."""
    low, high = p_other, enough
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (low, middle) if noise.radius(middle, p_other) >= radius else (middle, high)
    return high


def log_evidence_above(count: int, n: int, p0: np.ndarray) -> np.ndarray:
    """`evidence_above` against each of `p0`, (M,)."""
    a, b = count + 0.5, n - count + 0.5
    posterior, prior = special.betaincc(a, b, p0), special.betaincc(0.5, 0.5, p0)
    with np.errstate(divide="ignore"):
        logs = np.where(posterior < 1e-290, -np.inf, np.log(posterior)) - np.log(prior)
    log_beta = special.betaln(a, b) - special.betaln(0.5, 0.5)
    return np.asarray(log_beta + logs - (count * np.log(p0) + (n - count) * np.log1p(-p0)))


def log_evidence_below(count: int, n: int, p0: np.ndarray) -> np.ndarray:
    """`evidence_below` against each of `p0`, (M,)."""
    a, b = count + 0.5, n - count + 0.5
    posterior, prior = special.betainc(a, b, p0), special.betainc(0.5, 0.5, p0)
    with np.errstate(divide="ignore"):
        logs = np.where(posterior < 1e-290, -np.inf, np.log(posterior)) - np.log(prior)
    log_beta = special.betaln(a, b) - special.betaln(0.5, 0.5)
    return np.asarray(log_beta + logs - (count * np.log(p0) + (n - count) * np.log1p(-p0)))


def _growth(share: float, p0: np.ndarray) -> np.ndarray:
    """The evidence against "p <= p0" per draw at that share of successes: its Kullback-Leibler divergence, negative
    where the share is below p0.
    """
    divergence = special.xlogy(share, share / p0) + special.xlogy(1 - share, (1 - share) / (1 - p0))
    return np.asarray(np.sign(share - p0) * divergence)
