"""Sampling rules: how many draws an image gets, and what is concluded of their counts.

A rule asks for draws in stages. It is asked again only when all draws of a stage are in, and sees nothing but their
counts, so what it asks for next does not depend on scheduling, and a resumed run asks for the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.pipeline.certification.certificate import Certificate, Prediction, certify_counts, predict_counts

Counts = Mapping[Role, np.ndarray]
"""Label counts of one image by role, each int64 (num_classes,); a role without draws may be missing."""

Need = Mapping[Role, int]
"""How many draws an image needs in each role, those that it has already among them."""


class SamplingRule(Protocol):
    """The draws of one image and the statement about it, valid at 1 - alpha whenever the rule stops."""

    @property
    def first(self) -> Need:
        """The first stage, the same for every image."""

    @property
    def most(self) -> Need:
        """What no image ever exceeds."""

    def next(self, counts: Counts) -> Need | None:
        """The next stage, given the counts of all stages before; None where those are enough. A stage asks for no less
        in any role, and for more in at least one, than the one before.
        """

    def is_last(self, need: Need) -> bool:
        """Whether it is certain that no stage comes after `need`."""

    def conclude(self, counts: Counts) -> Certificate | Prediction:
        """The statement about the image, given the counts of all stages."""


@dataclass(frozen=True)
class Fixed:
    """n0 selection and n estimation draws for every image: CERTIFY as Cohen et al. 2019 (figure 2) have it."""

    n0: int
    n: int
    alpha: float
    noise: NoiseFamily

    @property
    def first(self) -> Need:
        return {Role.SELECTION: self.n0, Role.ESTIMATION: self.n}

    most = first

    def next(self, counts: Counts) -> Need | None:
        return None

    def is_last(self, need: Need) -> bool:
        return True

    def conclude(self, counts: Counts) -> Certificate:
        return certify_counts(counts[Role.SELECTION], counts[Role.ESTIMATION], self.noise, self.alpha)


@dataclass(frozen=True)
class FixedPrediction:
    """n draws for every image: PREDICT as Cohen et al. 2019 (figure 2) have it."""

    n: int
    alpha: float

    @property
    def first(self) -> Need:
        return {Role.ESTIMATION: self.n}

    most = first

    def next(self, counts: Counts) -> Need | None:
        return None

    def is_last(self, need: Need) -> bool:
        return True

    def conclude(self, counts: Counts) -> Prediction:
        return predict_counts(counts[Role.ESTIMATION], self.alpha)
