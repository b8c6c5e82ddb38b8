"""Sampling rules: how many draws an image gets, and what follows from their counts.

A rule asks for draws in rounds. It is asked again only when all draws of a round are in, and sees nothing but their
counts, so the next round does not depend on scheduling, and a resumed run asks for the same.

The paper's pseudo-code (Cohen et al. 2019, figure 2) in this code:

    CERTIFY(f, sigma, x, n0, n, alpha)               `Fixed`
      counts0 <- SampleUnderNoise(f, x, n0, sigma)   `Fixed.first`, Role.SELECTION; drawn by `actors.replica.draws.draw`
      cA      <- top index in counts0                `certificate.certify_counts`: top = argmax(selection)
      counts  <- SampleUnderNoise(f, x, n, sigma)    `Fixed.first`, Role.ESTIMATION; fresh, from random streams of
                                                     its own
      pA      <- LowerConfBound(counts[cA], n,       `certificate.lower_bound`
                                1 - alpha)
      if pA > 1/2 return cA, sigma * Phi^-1(pA)      `NoiseFamily.radius`
      else return ABSTAIN                            `certificate.ABSTAIN`

    PREDICT(f, sigma, x, n, alpha)                   `FixedPrediction`
      counts  <- SampleUnderNoise(f, x, n, sigma)    `FixedPrediction.first`, Role.ESTIMATION
      cA, cB  <- top two indices in counts           `certificate.predict_counts`
      if BinomPValue(nA, nA + nB, 0.5) <= alpha      `certificate.predict_counts`: p_value
        return cA, else return ABSTAIN

Another bound on the other classes, and rejected draws, change the lines from pA on: see `certificate.NOISE_BOUNDS`.

In a run, `pipeline.drawing.tally.Tally` adds up the counts of a round and asks the rule for the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.pipeline.certification.certificate import (
    COMPLEMENT,
    NOISE_BOUNDS,
    Certificate,
    Prediction,
    predict_counts,
)
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected

Counts = Mapping[Role, np.ndarray]
"""Label counts of one image by role, each int64 (num_labels,); a role without draws may be missing."""

Need = Mapping[Role, int]
"""Draws that an image needs in each role, including those it has already."""


class SamplingRule(Protocol):
    """The draws of one image and the statement about it, valid at 1 - alpha whenever the rule stops."""

    @property
    def first(self) -> Need:
        """The first round, the same for every image."""

    @property
    def most(self) -> Need:
        """The most draws of any image."""

    def at(self, noise: NoiseFamily) -> Self:
        """The same rule for draws of this noise."""

    def next(self, counts: Counts) -> Need | None:
        """The next round, given the counts of all rounds so far; None if those are enough. A round asks for no fewer
        draws in any role than the round before, and for more in at least one.
        """

    def is_last(self, need: Need) -> bool:
        """Whether it is certain that no round comes after `need`."""

    def conclude(self, counts: Counts) -> Certificate | Prediction:
        """The statement about the image, given the counts of all rounds."""


@dataclass(frozen=True)
class Fixed:
    """CERTIFY (Cohen et al. 2019, figure 2): n0 selection and n estimation draws for every image.

    `bound` is an entry of NOISE_BOUNDS, and `share` the fraction of alpha that pA takes (None: the entry's). With
    `rejecting` the counts have 2 K labels, as in `rejected_draws`.
    """

    n0: int
    n: int
    alpha: float
    noise: NoiseFamily
    bound: str = COMPLEMENT
    share: float | None = None
    rejecting: bool = False

    @property
    def first(self) -> Need:
        return {Role.SELECTION: self.n0, Role.ESTIMATION: self.n}

    most = first

    def at(self, noise: NoiseFamily) -> Self:
        return replace(self, noise=noise)

    def next(self, counts: Counts) -> Need | None:
        return None

    def is_last(self, need: Need) -> bool:
        return True

    def conclude(self, counts: Counts) -> Certificate:
        bound = NOISE_BOUNDS[self.bound]
        selection, _ = kept_and_rejected(counts[Role.SELECTION], self.rejecting)
        estimation, rejected = kept_and_rejected(counts[Role.ESTIMATION], self.rejecting)
        share = bound.share if self.share is None else self.share
        return bound.certify(selection, estimation, self.noise, self.alpha, share=share, rejected=rejected)


@dataclass(frozen=True)
class FixedPrediction:
    """PREDICT (Cohen et al. 2019, figure 2): n draws for every image. With `rejecting` as `Fixed`."""

    n: int
    alpha: float
    rejecting: bool = False

    @property
    def first(self) -> Need:
        return {Role.ESTIMATION: self.n}

    most = first

    def at(self, noise: NoiseFamily) -> Self:
        return self

    def next(self, counts: Counts) -> Need | None:
        return None

    def is_last(self, need: Need) -> bool:
        return True

    def conclude(self, counts: Counts) -> Prediction:
        kept, rejected = kept_and_rejected(counts[Role.ESTIMATION], self.rejecting)
        return predict_counts(kept, self.alpha, rejected=rejected)
