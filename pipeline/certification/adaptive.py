"""Adaptive sampling: as many draws as bring an image's radius within a tolerance of what n draws would give.

The selection draws, including a pilot, determine the number of estimation draws. These are fresh, and the certificate
rests on their Clopper-Pearson bound at alpha alone. Given the selection draws, the number of estimation draws is fixed,
so the bound is wrong with probability at most alpha whatever the selection draws were, and so also on average over
them: stopping costs no alpha (input-specific n, Chen et al. 2022; separate draws for choosing and for estimating, Cohen
et al. 2019, section 3.2.2). Reusing the draws that chose n in the bound would void it.

An image that is certain enough to abstain gets no estimation draws at all. Abstaining is never wrong.

Draws that a vision API leaves unanswered change nothing of this, since all of it is about pA alone. A draw either is of
the class A or is not, and an unanswered draw is one that is not: so the number of draws of A among n is binomial with
pA, whatever the others are, and pA > 1/2 leaves less than 1/2 to every other class and to having no answer. They stay
among the n draws: leaving them out would condition on the content of the noisy image, and pA would be another number.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from math import inf, pi
from typing import Literal, Self

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateModule
from raysmooth.common.numbers import number
from raysmooth.pipeline.certification.certificate import (
    ABSTAIN,
    Certificate,
    certify_counts,
    largest_p_lower,
    refuse_hopeless_certify,
)
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected
from raysmooth.pipeline.certification.sampling_rule import Counts, Need

special = LateModule("scipy.special")  # takes a quarter of a second to import

PRIOR = (1 / 2, 1 / 8)
"""Beta prior of the class's probability. Jeffreys' prior is (1/2, 1/2); the smaller second parameter represents images
whose label never changes. With Jeffreys' these get too few draws: the 2 % become 2.3 % (Cohen's CIFAR-10 log at sigma
0.25).
"""

DOUBT = 0.01
"""An image that n draws would certify with a smaller probability than this stops, and abstains."""

SURE, LONGER = 0.95, 5
"""An image that n draws would certify with a probability between DOUBT and SURE gets a pilot LONGER times as long: its
class's probability is near 1/2, where abstaining early saves most (6,000 instead of 11,000 draws for an image that
abstains).
"""

GRID_POINTS, STEP = 400, 1.03
"""The grid on which radii are computed: the number of probabilities, and the ratio of successive numbers of draws."""


@dataclass(frozen=True)
class Tolerance:
    """The accepted expected loss of an image's radius, compared with the radius that all n draws would give. Either
    relative ("2%", the default: 0.30 to 0.37 of the draws on Cohen's CIFAR-10 logs, at 0.98 of the ACR), or absolute in
    pixel units ("0.01", which favours the mean radius: small radii, whose last percent is expensive, lose most).
    """

    value: float
    kind: Literal["relative", "absolute"]

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """'2%' or '0.01'. Raises RaysmoothError for other text, and for shares outside 0 to 100 %."""
        stripped = str(text).strip()
        relative = stripped.endswith("%")
        try:
            value = number(stripped.removesuffix("%")) / (100 if relative else 1)
        except ValueError:
            raise RaysmoothError(
                f"--tolerance {text}: write 2% for a share of the radius, or 0.01 for pixel units"
            ) from None
        if relative and not 0 < value < 1:
            raise RaysmoothError(f"--tolerance {text}: a share of the radius is above 0% and below 100%, write 2%, say")
        if not 0 < value < inf:
            raise RaysmoothError(f"--tolerance {text}: pixel units are a positive number, write 0.01, say")
        return cls(value, "relative" if relative else "absolute")

    def least(self, radius: float) -> float:
        """The smallest acceptable expected radius, where all n draws would give `radius` in expectation."""
        return radius * (1 - self.value) if self.kind == "relative" else radius - self.value

    def __str__(self) -> str:
        return f"{self.value:.12g}" if self.kind == "absolute" else f"{self.value * 100:.12g}%"


def default_pilot(n: int) -> int:
    """A hundredth of n: twice or half as many cost more draws overall on Cohen's logs (n of 10,000 and 100,000)."""
    return max(1, n // 100)


@dataclass(frozen=True)
class Adaptive:
    """n0 selection draws as in CERTIFY, then `pilot` more (longer near 1/2), then as many estimation draws as the
    tolerance requires. Pilot and estimation together never exceed n. With `rejecting` the counts have 2 K labels, as in
    `rejected_draws`; rejected draws are draws that are not of the class.
    """

    n0: int
    n: int
    alpha: float
    noise: NoiseFamily
    pilot: int
    tolerance: Tolerance
    rejecting: bool = False

    def __post_init__(self) -> None:
        refuse_hopeless_adaptive(self.n, self.alpha, self.pilot)

    @property
    def first(self) -> Need:
        return {Role.SELECTION: self.n0}

    @property
    def most(self) -> Need:
        return {Role.SELECTION: self.n0 + self.long_pilot, Role.ESTIMATION: self.n - self.pilot}

    @property
    def long_pilot(self) -> int:
        """The pilot of an image near 1/2; the ordinary one if the longer would exceed a tenth of n."""
        return self.pilot * LONGER if self.pilot * LONGER <= self.n // 10 else self.pilot

    def at(self, noise: NoiseFamily) -> Self:
        return replace(self, noise=noise)

    def next(self, counts: Counts) -> Need | None:
        if Role.ESTIMATION in counts and counts[Role.ESTIMATION].any():
            return None
        selection = counts[Role.SELECTION]
        kept, _ = kept_and_rejected(selection, self.rejecting)
        pilot, estimation = _plan(self, int(kept.max()), int(selection.sum()))
        need = {Role.SELECTION: self.n0 + pilot, Role.ESTIMATION: estimation}
        return {role: draws for role, draws in need.items() if draws} if pilot + estimation else None

    def is_last(self, need: Need) -> bool:
        return Role.ESTIMATION in need

    def conclude(self, counts: Counts) -> Certificate:
        """CERTIFY from all selection draws and the estimation draws; an abstention, with `p_lower` and `count_top` 0,
        if there are no estimation draws.
        """
        selection, _ = kept_and_rejected(counts[Role.SELECTION], self.rejecting)
        drawn = counts.get(Role.ESTIMATION)
        if drawn is None or not drawn.any():
            return Certificate(ABSTAIN, 0.0, 0.0, 0, count_rejected=0 if self.rejecting else None)
        estimation, rejected = kept_and_rejected(drawn, self.rejecting)
        return certify_counts(selection, estimation, self.noise, self.alpha, rejected=rejected)


def refuse_hopeless_adaptive(n: int, alpha: float, pilot: int) -> None:
    """Raises RaysmoothError if the draws left by the pilot could only abstain, even if all of them agreed."""
    refuse_hopeless_certify(n, alpha)
    left = n - pilot
    if left < 1 or largest_p_lower(left, alpha) <= 0.5:
        enough = next(m for m in count(1) if largest_p_lower(m, alpha) > 0.5)
        shorter = f", or --pilot {default_pilot(n)}" if n - default_pilot(n) >= enough else ""
        raise RaysmoothError(
            f"--pilot {pilot} leaves {max(0, left)} of n={n} draws, which at alpha={alpha:g} can only abstain: "
            f"write --n {pilot + enough} or more{shorter}"
        )


@lru_cache(maxsize=100_000)
def _plan(rule: Adaptive, top: int, made: int) -> tuple[int, int]:
    """Pilot and estimation draws of an image whose most frequent class got `top` of the `made` selection draws. The
    estimation draws are 0 while the pilot is unfinished; (0, 0) means to abstain now.
    """
    sizes, radii = _radii(rule.n, rule.alpha, rule.noise)
    weights = np.diff(special.betainc(top + PRIOR[0], made - top + PRIOR[1], _edges()))
    expected = radii @ weights
    certified = float(weights @ (radii[-1] > 0))
    least = rule.tolerance.least(expected[-1])
    pilot = made - rule.n0
    if certified <= DOUBT or least <= 0:  # abstaining may be within the tolerance too
        return 0, 0
    if pilot < rule.pilot:
        return rule.pilot, 0
    if pilot < rule.long_pilot and certified < SURE:
        return rule.long_pilot, 0
    return pilot, min(int(sizes[np.argmax(expected >= least)]), rule.n - pilot)


@lru_cache(maxsize=64)
def _radii(n: int, alpha: float, noise: NoiseFamily) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of draws, int (S,), in steps of STEP up to n, and the radius of CERTIFY with each, at each probability of
    the grid, when the class gets exactly that share of the draws, (S, GRID_POINTS). Takes 0.2 s, once per run.
    """
    smallest = max(1, n // 1000)
    steps = smallest * STEP ** np.arange(np.ceil(np.log(n / smallest) / np.log(STEP)) + 1)
    sizes = np.unique(np.minimum(np.ceil(steps), n).astype(int))
    points = np.sin(np.linspace(pi / 4, pi / 2, 2 * GRID_POINTS + 1)[1::2]) ** 2
    bounds = special.betaincinv(sizes[:, None] * points, sizes[:, None] * (1 - points) + 1, alpha)
    return sizes, np.vectorize(noise.radius, otypes=[float])(bounds)


@lru_cache(maxsize=1)
def _edges() -> np.ndarray:
    """The ends of the intervals around the grid's probabilities, from 1/2 to 1, (GRID_POINTS + 1,). All are equally
    wide in arcsin sqrt(p), whose estimate has the same variance everywhere, and so finest where radii change most.
    """
    return np.sin(np.linspace(pi / 4, pi / 2, GRID_POINTS + 1)) ** 2
