"""Searches by votes, the grid and the certified selector, worked out by hand from the same noise."""

import numpy as np
import pytest
import torch
from closed_forms import found_by
from noise_by_hand import normals, uniforms
from scipy.optimize import brentq
from scipy.stats import norm

from raysmooth.actors.noise.families import GaussianLinf, Uniform
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.sigma_search.grid import grid_levels
from raysmooth.actors.sigma_search.search_options import Grid, Selector
from raysmooth.actors.sigma_search.selector import lower_bound, votes
from raysmooth.pipeline.certification.certificate import lower_bound as certified_lower_bound

GREY = torch.tensor([0.1, 0.3, -0.9]).view(-1, 1, 1, 1)


class Window:
    """Class 1 on [-0.3, 0.3], else class 0. It answers labels, as an API would."""

    num_classes = 2

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch.flatten(1).abs() <= 0.3).long().squeeze(1)


class Doubtful(torch.nn.Module):
    """One pixel; the largest softmax is that of (8 x, 0)."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([8 * batch.flatten(1), 0 * batch.flatten(1)], dim=1)


def test_a_grid_has_both_its_bounds() -> None:
    assert grid_levels(Grid(levels=4), 0.5) == [0.125, 0.75, 1.375, 2.0]
    assert grid_levels(Grid(levels=3, least=0.1, most=0.7), 0.5) == pytest.approx([0.1, 0.4, 0.7], rel=1e-15)
    assert grid_levels(Grid(levels=10, least=0.1, most=0.7), 0.5)[-1] == 0.7


@pytest.mark.parametrize("batch_size", [7, 30, 200])
def test_a_grid_takes_the_level_whose_votes_give_the_largest_radius(batch_size: int) -> None:
    found = found_by(
        "grid:levels=5,draws=30", Window(), GREY, Gaussian(0.2), ids=[4, 5, 6], batch_size=batch_size, seed=3
    )
    levels = np.linspace(0.05, 0.8, 5)
    for place, image_id in enumerate((4, 5, 6)):
        noise = normals(3, Role.OPTIMISATION, image_id, 0, 150).reshape(5, 30)
        inside = (np.abs(float(GREY[place]) + levels[:, None] * noise) <= 0.3).mean(axis=1)
        likeliest = np.clip(np.maximum(inside, 1 - inside), 0.02, 0.98)
        radii = levels * norm.ppf(likeliest)
        best = int(radii.argmax())
        assert found.sigmas[place, 0] == pytest.approx(levels[best], rel=1e-12)
        assert found.objectives[place, 0] == pytest.approx(radii[best], rel=1e-9)
        assert found.classes[place, 0] == int(inside[best] > 0.5)
    assert len({*found.sigmas[:, 0]}) > 1
    assert np.isnan(found.radii).all()


def test_a_grid_of_uniform_noise_is_in_lambda() -> None:
    found = found_by("grid:levels=3,draws=40", Window(), GREY[:1], Uniform(0.4 / np.sqrt(3)))
    levels, noise = np.array([0.1, 0.85, 1.6]), uniforms(0, Role.OPTIMISATION, 0, 0, 120).reshape(3, 40)
    inside = (np.abs(0.1 + levels[:, None] * noise) <= 0.3).mean(axis=1)
    radii = levels * np.abs(2 * inside - 1)
    assert found.sigmas[0, 0] * np.sqrt(3) == pytest.approx(levels[radii.argmax()], rel=1e-9)
    assert found.objectives[0, 0] == pytest.approx(radii.max(), rel=1e-9)


def test_of_levels_with_equal_radii_the_grid_takes_the_lowest() -> None:
    class Even(Window):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.arange(len(batch)) % 2

    found = found_by("grid:levels=4,draws=10", Even(), GREY[:1], Gaussian(0.2), batch_size=40)
    assert found.sigmas.tolist() == [[0.05]]
    assert found.objectives.tolist() == [[0.0]]


def test_votes_are_bins_of_the_largest_softmax() -> None:
    share = torch.tensor([0.5, 0.55, 0.6, 0.75, 0.9, 0.99], dtype=torch.float64)
    logits = torch.stack([share.log(), (1 - share).log()], dim=1)
    assert votes(Selector(bins="0.58+0.8"), logits).tolist() == [2, 2, 2]
    assert votes(Selector(bins="0.0+1.0"), logits).tolist() == [0, 6, 0]
    assert votes(Selector(levels="1+2", bins="0.5"), torch.zeros(3, 2)).tolist() == [0, 3]  # a value on the threshold


@pytest.mark.parametrize("noise", [Gaussian(0.25), GaussianLinf(0.25, 4)])
def test_the_selectors_level_and_radius_by_hand(noise: Gaussian) -> None:
    search = "selector:levels=0.25+0.5+1,bins=0.7+0.95,n0=40,n=300,alpha=0.02"
    images = torch.tensor([0.0, 0.2, 0.9, 5.0]).view(-1, 1, 1, 1)
    found = found_by(search, Doubtful(), images, noise, ids=[2, 3, 5, 7], batch_size=64, seed=6)
    for place, image_id in enumerate((2, 3, 5, 7)):
        bins = []
        for block, count in ((0, 40), (1, 300)):
            pixels = float(images[place]) + 0.25 * normals(6, Role.OPTIMISATION, image_id, block, count)
            largest = 1 / (1 + np.exp(-np.abs(8 * pixels)))
            bins.append(np.bincount((largest >= 0.7).astype(int) + (largest >= 0.95), minlength=3))
        level = int(bins[0].argmax())
        p_lower = certified_lower_bound(int(bins[1][level]), 300, 0.01)
        assert found.sigmas[place, 0] == (0.25, 0.5, 1.0)[level]
        assert found.objectives[place, 0] == pytest.approx(p_lower, rel=1e-12)
        assert found.radii[place] == pytest.approx(noise.radius(p_lower) if p_lower > 0.5 else 0.0, rel=1e-9)
    assert 0.0 in found.radii
    assert found.radii[3] == pytest.approx(noise.radius(0.01 ** (1 / 300)), rel=1e-9)
    assert found.failed == (None,) * 4


@pytest.mark.parametrize(("count", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (99_000, 100_000)])
def test_the_selectors_bound_is_that_of_certificates(count: int, n: int) -> None:
    assert lower_bound(count, n, 0.0005) == pytest.approx(certified_lower_bound(count, n, 0.0005), rel=1e-12)


def test_the_selectors_radius_fails_as_often_as_half_of_alpha_at_most() -> None:
    """In one dimension, where the probability of each level is known, and with it how far away it is 1/2."""
    sigma, alpha, size = 0.25, 0.4, 800
    edge = float(np.log(0.95 / 0.05)) / 8  # within it the largest softmax is below 0.95

    def sure(x: float) -> float:
        """The probability of the second level."""
        return float(1 - norm.cdf((edge - x) / sigma) + norm.cdf((-edge - x) / sigma))

    x = 0.55
    border = brentq(lambda at: sure(at) - 0.5, 0.0, x)
    search = f"selector:levels=0.25+0.5,bins=0.95,n0=15,n=60,alpha={alpha}"
    found = found_by(search, Doubtful(), torch.full((size, 1, 1, 1), x), Gaussian(sigma), batch_size=60)
    wrong = np.where(found.sigmas[:, 0] == 0.5, found.radii > x - border, found.radii > 0)
    assert wrong.mean() <= alpha / 2 + 3 * np.sqrt(alpha / 2 * (1 - alpha / 2) / size)
    assert wrong.mean() > alpha / 8  # the bound is nearly tight here, so that a wrong one would be seen


@pytest.mark.parametrize("search", ["grid:levels=3,draws=5", "selector:n0=5,n=20"])
def test_an_image_without_valid_answers_fails_alone(search: str) -> None:
    class Dazzled(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits = Doubtful()(batch)
            return torch.where(batch.flatten(1) > 50, torch.inf, logits)

    images = torch.tensor([0.3, 99.0, 0.1]).view(-1, 1, 1, 1)
    found = found_by(search, Dazzled(), images)
    whole = 15 if search.startswith("grid") else 25
    reason = f"no valid answer (logits NaN or infinite, or a label outside the classes) in {whole} of {whole} draws"
    assert found.failed == (None, f"{reason} of the search", None)
    without = found_by(search, Doubtful(), images)
    np.testing.assert_array_equal(found.sigmas[::2], without.sigmas[::2])
