"""The objective of searches, compared with SciPy's quantiles."""

import pytest
import torch
from scipy.stats import norm

from raysmooth.actors.noise.families import NOISES, Uniform
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.sigma_search.objective import OBJECTIVES, certified_radius


def radius(probabilities: list[float], level: float, noise: str = "gaussian", anchor: int | None = None) -> float:
    fixed = None if anchor is None else torch.tensor([anchor])
    given = torch.tensor([probabilities], dtype=torch.float64), torch.tensor([level], dtype=torch.float64)
    return float(certified_radius(*given, noise, 0.02, fixed))


def test_the_radius_is_that_of_the_two_likeliest_classes() -> None:
    assert radius([0.1, 0.7, 0.2], 0.5) == pytest.approx(0.25 * (norm.ppf(0.7) - norm.ppf(0.2)), rel=1e-12)
    assert radius([0.1, 0.7, 0.2], 0.5) == pytest.approx(Gaussian(0.5).radius(0.7, 0.2), rel=1e-12)
    assert radius([0.9, 0.1, 0.0], 0.5, "uniform") == pytest.approx(0.5 * 0.8, rel=1e-12)
    level = NOISES["uniform"].of_sigma(0.3)
    assert radius([0.9, 0.1, 0.0], level, "uniform") == pytest.approx(Uniform(0.3).radius(0.9, 0.1), rel=1e-6)


def test_gaussian_probabilities_are_clamped_and_uniform_ones_are_not() -> None:
    assert radius([1.0, 0.0], 0.5) == pytest.approx(0.5 * norm.ppf(0.98), rel=1e-12)
    assert radius([0.97, 0.03], 0.5) == pytest.approx(0.5 * norm.ppf(0.97), rel=1e-12)
    assert radius([1.0, 0.0], 0.5, "uniform") == 0.5


def test_an_anchor_fixes_the_class_whose_radius_it_is() -> None:
    assert radius([0.1, 0.7, 0.2], 0.5, anchor=1) == radius([0.1, 0.7, 0.2], 0.5)
    assert radius([0.1, 0.7, 0.2], 0.5, anchor=2) == pytest.approx(0.25 * (norm.ppf(0.2) - norm.ppf(0.7)), rel=1e-12)
    assert radius([0.3, 0.7], 0.5, "uniform", anchor=0) == pytest.approx(-0.2, rel=1e-12)


@pytest.mark.parametrize("noise", OBJECTIVES)
def test_its_gradients_are_those_of_finite_differences(noise: str) -> None:
    probabilities = torch.tensor([[0.1, 0.7, 0.2], [0.35, 0.05, 0.6]], dtype=torch.float64, requires_grad=True)
    level = torch.tensor([0.5, 0.3], dtype=torch.float64, requires_grad=True)
    for anchor in (None, torch.tensor([0, 2])):
        assert torch.autograd.gradcheck(
            lambda p, at, fixed=anchor: certified_radius(p, at, noise, 0.02, fixed), (probabilities, level)
        )


def test_a_clamped_probability_has_no_slope() -> None:
    probabilities = torch.tensor([[0.985, 0.01, 0.005]], dtype=torch.float64, requires_grad=True)
    level = torch.tensor([0.5], dtype=torch.float64)
    (slope,) = torch.autograd.grad(certified_radius(probabilities, level, "gaussian", 0.02).sum(), probabilities)
    assert slope.tolist() == [[0.0, 0.0, 0.0]]


def test_every_noise_family_has_an_objective() -> None:
    assert {*OBJECTIVES} == {*NOISES}
