"""The sampling rule of an image whose noise level is its own.

The level is a fixed number, decided before the draws and from others: the rule is that of a run at this level. Where a
selector certified the level too (Horvath et al. 2022, in their case between a smoothed and a plain model), the
statement is about h(x) = g_s(x), the class at the level s(x) that the selector chooses at x. Within its radius R_s the
choice is the same, within R_g the class at that level is: so within min(R_s, R_g) h is constant. R_s fails with
probability at most alpha / 2, and R_g has the other half.
"""

from dataclasses import dataclass, replace
from typing import Self

from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate, Prediction
from raysmooth.pipeline.certification.sampling_rule import Counts, Need, SamplingRule


@dataclass(frozen=True)
class AtOwnLevel:
    """`rule`, which has the run's noise, for an image with draws of `noise`. Its draws are planned at the run's level:
    every radius is proportional to the level, so a share of a radius takes the same draws at any. `same_within`, of a
    certified selector, is the radius in the noise's norm within which the level stays the same, 0 where it abstains;
    None elsewhere.
    """

    rule: SamplingRule
    noise: NoiseFamily
    same_within: float | None = None

    @property
    def first(self) -> Need:
        return self.rule.first

    @property
    def most(self) -> Need:
        return self.rule.most

    def at(self, noise: NoiseFamily) -> Self:
        return replace(self, noise=noise)

    def next(self, counts: Counts) -> Need | None:
        return self.rule.next(counts)

    def is_last(self, need: Need) -> bool:
        return self.rule.is_last(need)

    def conclude(self, counts: Counts) -> Certificate | Prediction:
        concluded = self.rule.at(self.noise).conclude(counts)
        if self.same_within is None:
            return concluded
        if isinstance(concluded, Certificate):
            return within(concluded, self.same_within)
        return concluded if self.same_within > 0 else replace(concluded, prediction=ABSTAIN)


def within(certificate: Certificate, same_within: float) -> Certificate:
    """What is left of a certificate at a level that stays the same within this radius, in the same norm; 0: it is not
    known which level it is.
    """
    if same_within <= 0 or certificate.prediction == ABSTAIN:
        return replace(certificate, prediction=ABSTAIN, radius=0.0)
    return replace(certificate, radius=min(certificate.radius, same_within))
