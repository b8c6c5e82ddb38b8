"""Decisions at one radius: is the image certified there? Most images need only a few hundred draws to decide.

The decision is a test of "pA <= p0", where p0 is the lower bound that the radius requires. Its evidence is the
likelihood ratio, against p0, of a mixture of Bernoulli probabilities q above p0:

    E(count of n) = mean over q of (q/p0)^count ((1-q)/(1-p0))^(n-count),   q ~ Beta(1/2, 1/2) given q > p0.

Under any p <= p0 each draw multiplies the term of q by p q/p0 + (1-p) (1-q)/(1-p0) on average, which grows with p and
is 1 at p0. So E is a nonnegative supermartingale that starts at 1, and by Ville's inequality it ever reaches 1/alpha
with probability at most alpha, at any stopping time. This is the betting confidence sequence of Voracek 2024
(Krichevsky-Trofimov's mixture, which uses all q and must therefore also require that the share lies above p0) with its
mass only on the q that can be certified: valid by itself, and larger by 1/P(q > p0), 2 to 10 in practice.

A draw that is rejected, or that a vision API leaves unanswered, is a draw that is not of the class: a Bernoulli
variable with pA like any other. So the test stands as it is, with all draws in n.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, floor, inf, log
from typing import Self

import numpy as np

from raysmooth.actors.noise.pixel_scale import distance_hint
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateModule
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected
from raysmooth.pipeline.certification.sampling_rule import Counts, Need

special = LateModule("scipy.special")  # takes a quarter of a second to import

CERTIFIED, NOT_CERTIFIED, UNDECIDED = "certified", "not certified", "undecided"

FIRST, GROWTH = 100, 1.44
"""Estimation draws of the first round, and the factor by which their total grows from round to round: at most 20
rounds up to 100,000. Growing by 5 % would save a tenth of the draws, with seven times as many rounds.
"""


def evidence_above(count: int, n: int, p0: float) -> float:
    """Log E of `count` successes in `n` draws against "p <= p0" (0 < p0 < 1): log(1/alpha) or more rejects it at alpha,
    at any stopping time.
    """
    a, b = count + 0.5, n - count + 0.5
    return _log_mixture(
        special.betaln(a, b), special.betaincc(a, b, p0), special.betaincc(0.5, 0.5, p0)
    ) - _log_likelihood(count, n, p0)


def evidence_below(count: int, n: int, p0: float) -> float:
    """The counterpart of `evidence_above`: against "p >= p0", by a mixture of the probabilities below p0."""
    a, b = count + 0.5, n - count + 0.5
    return _log_mixture(
        special.betaln(a, b), special.betainc(a, b, p0), special.betainc(0.5, 0.5, p0)
    ) - _log_likelihood(count, n, p0)


def _log_mixture(log_beta: float, posterior: float, prior: float) -> float:
    """Log of the integral over one side of p0: the integral over (0, 1), times that side's share of it."""
    if posterior < 1e-290:  # floats are sparse there; no evidence is the safe answer
        return -inf
    return float(log_beta - special.betaln(0.5, 0.5)) + log(posterior) - log(prior)


def _log_likelihood(count: int, n: int, p: float) -> float:
    return count * log(p) + (n - count) * float(np.log1p(-p))


@dataclass(frozen=True)
class Decide:
    """Is the image certified at `radius` (pixel units, > 0)? n0 selection draws choose the class, as CERTIFY does; then
    at most n estimation draws in growing rounds, until the answer is known either way.

    "certified" is wrong with probability at most alpha (the guarantee). "not certified" requires equally strong
    evidence that pA is below p0, so that an image with a larger radius is given up with probability at most alpha (a
    matter of power, not of soundness). "undecided" means that n draws were not enough. With `rejecting` the counts have
    2 K labels, as in `rejected_draws`.
    """

    n0: int
    n: int
    alpha: float
    noise: NoiseFamily
    radius: float
    rejecting: bool = False

    @property
    def first(self) -> Need:
        return {Role.SELECTION: self.n0, Role.ESTIMATION: min(FIRST, self.n)}

    @property
    def most(self) -> Need:
        return {Role.SELECTION: self.n0, Role.ESTIMATION: self.n}

    @cached_property
    def p0(self) -> float:
        """The lower bound on the class's probability that the radius requires."""
        return self.noise.needed(self.radius)

    def at(self, noise: NoiseFamily) -> Self:
        return replace(self, noise=noise)

    def next(self, counts: Counts) -> Need | None:
        made = int(counts[Role.ESTIMATION].sum())
        if made >= self.n or self.decision(counts) != UNDECIDED:
            return None
        return {Role.SELECTION: self.n0, Role.ESTIMATION: min(self.n, ceil(made * GROWTH))}

    def is_last(self, need: Need) -> bool:
        return need[Role.ESTIMATION] >= self.n

    def reaches(self, n: int, radius: float) -> bool:
        """Whether `n` draws that all agree certify `radius`."""
        return reachable(n, self.alpha, self.noise.needed(radius))

    def decision(self, counts: Counts) -> str:
        """CERTIFIED, NOT_CERTIFIED or UNDECIDED: a pure function of the counts, which can be recomputed from stored
        ones.
        """
        _, count, made = self._count(counts)
        if evidence_above(count, made, self.p0) >= -log(self.alpha):
            return CERTIFIED
        if evidence_below(count, made, self.p0) >= -log(self.alpha):
            return NOT_CERTIFIED
        return UNDECIDED

    def conclude(self, counts: Counts) -> Certificate:
        """The requested radius if the image is certified there, with the required bound p0 as `p_lower`; otherwise an
        abstention.
        """
        return self._concluded(counts, self.p0)

    def _concluded(self, counts: Counts, p_lower: float) -> Certificate:
        """The certificate of these counts; `p_lower` is what one shows about the class's probability."""
        decision = self.decision(counts)
        top, count, _ = self._count(counts)
        _, rejected = kept_and_rejected(counts[Role.ESTIMATION], self.rejecting)
        if decision == CERTIFIED:
            return Certificate(top, self.radius, p_lower, count, decision, count_rejected=rejected)
        return Certificate(ABSTAIN, 0.0, 0.0, count, decision, count_rejected=rejected)

    def _count(self, counts: Counts) -> tuple[int, int, int]:
        """The selected class, its number of estimation draws, and the number of all estimation draws; (ABSTAIN, 0) and
        the latter if no selection draw was kept.
        """
        selection, _ = kept_and_rejected(counts[Role.SELECTION], self.rejecting)
        estimation = counts[Role.ESTIMATION]
        if not selection.any():
            return ABSTAIN, 0, int(estimation.sum())
        top = int(np.argmax(selection))
        return top, int(estimation[top]), int(estimation.sum())


def refuse_hopeless_decide(rule: Decide) -> None:
    """Raises RaysmoothError for a radius that is not positive and finite, or that n agreeing draws cannot reach."""
    n, radius = rule.n, rule.radius
    if not 0 < radius < inf:
        raise RaysmoothError(f"--radius {radius:g} is not a radius: write --radius 0.5, say")
    if rule.reaches(n, radius):
        return
    low, high = 0.0, radius  # the largest radius that n draws can reach is between them
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if rule.reaches(n, middle) else (low, middle)
    remedies = [f"--radius {floor(low * 1000) / 1000:g} or less"] if low >= 0.001 else []
    if enough := _enough(lambda draws: rule.reaches(draws, radius)):
        remedies.insert(0, f"--n {enough} or more")
    if not remedies:
        remedies = ["a larger --n and a smaller --radius"]
    raise RaysmoothError(
        f"--radius {radius:g} at sigma {rule.noise.scale:g} is beyond n={n} draws at alpha={rule.alpha:g}, even if all "
        f"of them agree: write {', or '.join(remedies)}{distance_hint(radius)}"
    )


def reachable(n: int, alpha: float, p0: float) -> bool:
    """Whether n agreeing draws certify a radius that requires the bound p0."""
    return p0 < 1 and evidence_above(n, n, p0) >= -log(alpha)


def _enough(certifies: Callable[[int], bool], largest: int = 10**9) -> int | None:
    """The smallest n, up to `largest`, whose agreement certifies; the evidence of agreement grows with n."""
    if not certifies(largest):
        return None
    low, high = 0, largest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if certifies(middle) else (middle, high)
    return high
