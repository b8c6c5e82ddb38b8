"""Decisions at one radius: is the image certified there? Most images need a few hundred draws to say so.

The question is a test of "pA <= p0", where p0 is the lower bound that the radius takes. Its evidence is the likelihood
ratio, against p0, of a mixture of Bernoulli probabilities q above p0:

    E(count of n) = mean over q of (q/p0)^count ((1-q)/(1-p0))^(n-count),   q ~ Beta(1/2, 1/2) given q > p0.

Under any p <= p0 each draw multiplies the term of q by p q/p0 + (1-p) (1-q)/(1-p0) on average, which grows with p and
is 1 at p0: E is a nonnegative supermartingale that begins at 1, so by Ville's inequality it ever reaches 1/alpha with
probability at most alpha, whenever one looks and stops. This is the betting confidence sequence of Voracek 2024
(Krichevsky-Trofimov's mixture, which takes all q and must therefore ask besides that the share lies above p0) with its
mass on the q that can be certified alone: valid by itself, and larger by 1/P(q > p0), 2 to 10 in practice.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, inf, log

import numpy as np
from scipy.special import betainc, betaincc, betaln

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate
from raysmooth.pipeline.certification.sampling_rule import Counts, Need

CERTIFIED, NOT_CERTIFIED, UNDECIDED = "certified", "not certified", "undecided"

FIRST, GROWTH = 100, 1.44
"""Estimation draws of the first round, and by how much all of them grow from round to round: at most 20 rounds up to
100,000. A round after each 5 % more would save a tenth of the draws, and ask the driver seven times as often.
"""


def evidence_above(count: int, n: int, p0: float) -> float:
    """Log E of `count` successes in `n` draws against "p <= p0" (0 < p0 < 1): log(1/alpha) or more rejects it at alpha,
    at every stopping time.
    """
    a, b = count + 0.5, n - count + 0.5
    return _log_mixture(betaln(a, b), betaincc(a, b, p0), betaincc(0.5, 0.5, p0)) - _log_likelihood(count, n, p0)


def evidence_below(count: int, n: int, p0: float) -> float:
    """The mirror image of `evidence_above`: against "p >= p0", by a mixture of the probabilities below p0."""
    a, b = count + 0.5, n - count + 0.5
    return _log_mixture(betaln(a, b), betainc(a, b, p0), betainc(0.5, 0.5, p0)) - _log_likelihood(count, n, p0)


def _log_mixture(log_beta: float, posterior: float, prior: float) -> float:
    """Log of the integral over one side of p0: that over all of (0, 1), times the shares of it that the side has."""
    if posterior < 1e-290:  # floats there are few and far between; no evidence is the safe side
        return -inf
    return float(log_beta - betaln(0.5, 0.5)) + log(posterior) - log(prior)


def _log_likelihood(count: int, n: int, p: float) -> float:
    return count * log(p) + (n - count) * float(np.log1p(-p))


@dataclass(frozen=True)
class Decide:
    """Is the image certified at `radius` (pixel units, > 0)? n0 selection draws choose the class, as CERTIFY does; then
    at most n estimation draws in growing rounds, until the answer is known either way.

    "certified" is wrong with probability at most alpha (the promise). "not certified" comes as soon as the evidence
    that pA is below what the radius takes is as strong, so that an image whose radius is larger is given up with
    probability at most alpha (power, not soundness). "undecided" is what n draws leave open.
    """

    n0: int
    n: int
    alpha: float
    noise: NoiseFamily
    radius: float

    @property
    def first(self) -> Need:
        return {Role.SELECTION: self.n0, Role.ESTIMATION: min(FIRST, self.n)}

    @property
    def most(self) -> Need:
        return {Role.SELECTION: self.n0, Role.ESTIMATION: self.n}

    @cached_property
    def p0(self) -> float:
        """The lower bound on the class's probability that the radius takes."""
        return self.noise.needed(self.radius)

    def next(self, counts: Counts) -> Need | None:
        made = int(counts[Role.ESTIMATION].sum())
        if made >= self.n or self.decision(counts) != UNDECIDED:
            return None
        return {Role.SELECTION: self.n0, Role.ESTIMATION: min(self.n, ceil(made * GROWTH))}

    def is_last(self, need: Need) -> bool:
        return need[Role.ESTIMATION] >= self.n

    def decision(self, counts: Counts) -> str:
        """CERTIFIED, NOT_CERTIFIED or UNDECIDED; a pure function of the counts, so that it can be computed again from
        those at which the image stopped.
        """
        _, count, made = self._count(counts)
        if evidence_above(count, made, self.p0) >= -log(self.alpha):
            return CERTIFIED
        if evidence_below(count, made, self.p0) >= -log(self.alpha):
            return NOT_CERTIFIED
        return UNDECIDED

    def conclude(self, counts: Counts) -> Certificate:
        """The asked radius exactly where the image is certified at it (`p_lower` is the bound that it takes), else an
        abstention.
        """
        decision = self.decision(counts)
        top, count, _ = self._count(counts)
        if decision == CERTIFIED:
            return Certificate(top, self.radius, self.p0, count, decision)
        return Certificate(ABSTAIN, 0.0, 0.0, count, decision)

    def _count(self, counts: Counts) -> tuple[int, int, int]:
        """The selected class, its estimation draws, and all estimation draws."""
        top = int(np.argmax(counts[Role.SELECTION]))
        estimation = counts[Role.ESTIMATION]
        return top, int(estimation[top]), int(estimation.sum())


def refuse_hopeless_decide(n: int, alpha: float, noise: NoiseFamily, radius: float) -> None:
    """Raises RaysmoothError for a radius that is none, or that even n agreeing draws leave undecided."""
    if not 0 < radius < inf:
        raise RaysmoothError(f"--radius {radius:g} is no radius: write --radius 0.5, say")
    if reachable(n, alpha, noise.needed(radius)):
        return
    low, high = 0.0, radius  # the largest radius that n reaches lies between
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reachable(n, alpha, noise.needed(middle)) else (low, middle)
    remedies = [f"--radius {floor(low * 1000) / 1000:g} or less"] if low >= 0.001 else []
    if enough := _enough(alpha, noise.needed(radius)):
        remedies.insert(0, f"--n {enough} or more")
    if not remedies:
        remedies = ["a larger --n and a smaller --radius"]
    raise RaysmoothError(
        f"--radius {radius:g} at sigma {noise.scale:g} is beyond n={n} draws at alpha={alpha:g}, even if all of them "
        f"agree: write {', or '.join(remedies)}"
    )


def reachable(n: int, alpha: float, p0: float) -> bool:
    """Whether n agreeing draws certify what takes the bound p0."""
    return p0 < 1 and evidence_above(n, n, p0) >= -log(alpha)


def _enough(alpha: float, p0: float, largest: int = 10**9) -> int | None:
    """The smallest n, up to `largest`, whose agreement certifies; the evidence of agreement grows with n."""
    if not reachable(largest, alpha, p0):
        return None
    low, high = 0, largest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reachable(middle, alpha, p0) else (middle, high)
    return high
