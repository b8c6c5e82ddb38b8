"""Rules of images with their own noise level: certificates are those at the level, within the selector's radius."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.actors.noise.families import NOISES, GaussianLinf, noise_family
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.pipeline.certification.adaptive import Adaptive, Tolerance
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate
from raysmooth.pipeline.certification.own_level import AtOwnLevel, within
from raysmooth.pipeline.certification.sampling_rule import Fixed, FixedPrediction
from raysmooth.pipeline.certification.sequential_test import Decide

SURE = {Role.SELECTION: np.array([9, 1]), Role.ESTIMATION: np.array([950, 50])}
RULES: dict[str, Any] = {
    "fixed": Fixed(10, 1000, 0.001, Gaussian(0.25)),
    "adaptive": Adaptive(10, 1000, 0.001, Gaussian(0.25), 10, Tolerance.parse("2%")),
    "decide": Decide(10, 1000, 0.001, Gaussian(0.25), 0.1),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_certificate_is_that_at_the_level(rule: str) -> None:
    own = AtOwnLevel(RULES[rule], Gaussian(0.4))
    assert own.conclude(SURE) == replace(RULES[rule], noise=Gaussian(0.4)).conclude(SURE)
    assert own.rule.at(Gaussian(0.4)) == replace(RULES[rule], noise=Gaussian(0.4))
    assert (own.first, own.most) == (RULES[rule].first, RULES[rule].most)


def test_predictions_have_no_radius() -> None:
    rule = FixedPrediction(1000, 0.001)
    assert AtOwnLevel(rule, Gaussian(0.4)).conclude(SURE) == rule.conclude(SURE)
    assert AtOwnLevel(rule, Gaussian(0.4), 0.1).conclude(SURE) == rule.conclude(SURE)
    assert AtOwnLevel(rule, Gaussian(0.4), 0.0).conclude(SURE) == replace(rule.conclude(SURE), prediction=ABSTAIN)


def test_the_smaller_radius_is_left() -> None:
    whole = AtOwnLevel(RULES["fixed"], Gaussian(0.4)).conclude(SURE)
    assert isinstance(whole, Certificate)
    assert whole.radius > 0.5
    for same, radius, prediction in ((9.0, whole.radius, 0), (0.1, 0.1, 0), (0.0, 0.0, ABSTAIN)):
        own = AtOwnLevel(RULES["fixed"], Gaussian(0.4), same).conclude(SURE)
        assert own == replace(whole, radius=radius, prediction=prediction)
    abstains = Certificate(ABSTAIN, 0.0, 0.4, 400)
    assert within(abstains, 5.0) == abstains


@given(st.floats(1e-6, 100), st.integers(1, 200_000))
def test_a_ball_in_another_norm_lies_inside(radius: float, pixels: int) -> None:
    inside = GaussianLinf(0.5, pixels).in_norm(radius)
    assert inside**2 * pixels <= radius**2 * (1 + 1e-15)
    assert inside == pytest.approx(radius / pixels**0.5)
    for name, entry in NOISES.items():
        assert noise_family(name, 0.5, next(iter(entry.norms)), pixels).in_norm(radius) == radius
