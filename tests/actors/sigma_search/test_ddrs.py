"""The ascent of algorithm 1, compared with closed forms, and what its levels may not depend on."""

import base_classifiers
import numpy as np
import pytest
import torch
from closed_forms import CLAMPED, Certain, Probit, found_by
from noise_by_hand import normals

from raysmooth.actors.noise.families import Uniform
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.sigma_search.ddrs import ascend
from raysmooth.actors.sigma_search.gradients import Slopes
from raysmooth.actors.sigma_search.objective import certified_radius
from raysmooth.actors.sigma_search.search_options import GRADIENTS, Ddrs

PICTURES = torch.from_numpy(np.random.default_rng(5).random((6, 1, 8, 8), dtype=np.float32))
LEARNING = "learning_rate=0.01,draws=3"
"""Steps so large that levels move visibly within a few."""


@pytest.mark.parametrize("way", GRADIENTS)
def test_a_constant_softmax_gives_the_drift_of_the_clamp(way: str) -> None:
    found = found_by(f"ddrs:steps=150,gradient={way}", Certain(), PICTURES[:2])
    expected = [0.25 + CLAMPED * 1e-4 * steps for steps in (100, 150)]
    np.testing.assert_allclose(found.sigmas, [expected] * 2, rtol=1e-13)
    # Each objective is that of the level before the step.
    np.testing.assert_allclose(found.objectives[0], [(sigma - CLAMPED * 1e-4) * CLAMPED for sigma in expected], 1e-12)
    assert (found.classes == 2).all()
    assert np.isnan(found.radii).all()
    assert found.failed == (None, None)


def test_uniform_noise_is_searched_in_lambda() -> None:
    first = Uniform.sigma_of(0.5)
    found = found_by("ddrs:steps=120,learning_rate=1e-3", Certain(), PICTURES[:1], Uniform(first))
    # p1 - p2 is 1, so lambda grows by the learning rate.
    np.testing.assert_allclose(found.sigmas[0] * np.sqrt(3), [0.5 + 0.1, 0.5 + 0.12], rtol=1e-13)
    assert found.objectives[0, 1] == pytest.approx(0.5 + 0.119, rel=1e-12)


def test_a_linear_classifier_follows_its_closed_form() -> None:
    probit, image = Probit(), torch.tensor([[[0.5]]])
    found = found_by("ddrs:steps=30,learning_rate=0.02,draws=4000,clamp=0.001", probit, image[None], batch_size=4000)
    sigma = 0.25
    for _ in range(30):
        before, sigma = sigma, sigma + 0.02 * probit.slope(image, sigma)
    assert sigma > 0.5
    assert found.sigmas[0, 0] == pytest.approx(sigma, rel=3e-3)
    assert found.objectives[0, 0] == pytest.approx(probit.radius(image, before), rel=0.03)


def test_a_longer_search_passes_exactly_through_a_shorter_one() -> None:
    classifier = base_classifiers.Linear()
    long = found_by("ddrs:steps=300,learning_rate=1e-3", classifier, PICTURES[:3])
    short = found_by("ddrs:steps=200,learning_rate=1e-3", classifier, PICTURES[:3])
    for name in ("sigmas", "objectives", "classes"):
        np.testing.assert_array_equal(getattr(long, name)[:, :2], getattr(short, name))
    assert (long.sigmas[:, 2] != long.sigmas[:, 1]).all()


@pytest.mark.parametrize("way", GRADIENTS)
def test_a_level_depends_on_its_image_alone(way: str) -> None:
    """Not on neighbours, on their order and number, on the size of batches or on blank images."""
    classifier, search = base_classifiers.Linear(), f"ddrs:steps=20,{LEARNING},gradient={way}"
    ids = [7, 3, 11, 20, 21, 22]
    whole = found_by(search, classifier, PICTURES, ids=ids, batch_size=18).sigmas[:, 0]
    assert len({f"{sigma:.5f}" for sigma in whole}) == 6
    backwards = found_by(search, classifier, PICTURES.flip(0), ids=ids[::-1], batch_size=18).sigmas[::-1, 0]
    alone = [
        found_by(search, classifier, PICTURES[[place]], ids=[ids[place]], batch_size=18).sigmas[0, 0]
        for place in range(6)
    ]
    blank = PICTURES.clone()
    blank[1::2] = 0
    beside_blank = found_by(search, classifier, blank, ids=ids, batch_size=18).sigmas[::2, 0]
    np.testing.assert_allclose(backwards, whole, rtol=1e-6)
    np.testing.assert_allclose(alone, whole, rtol=1e-6)
    np.testing.assert_allclose(beside_blank, whole[::2], rtol=1e-6)
    for batch_size, micro_batch in ((18, 7), (18, 2), (18, 1), (6, 6), (2, 2)):
        found = found_by(search, classifier, PICTURES, ids=ids, batch_size=batch_size, micro_batch=micro_batch)
        np.testing.assert_allclose(found.sigmas[:, 0], whole, rtol=1e-5)


def test_noise_is_that_of_the_image_and_its_own_stream() -> None:
    seen: list[np.ndarray] = []

    class Watching(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch.detach().numpy().copy())
            return super().forward(batch)

    search = "ddrs:steps=3,learning_rate=0.05,draws=2"
    found_by(search, Watching(), PICTURES[:2], ids=[9, 4], batch_size=6, seed=8)
    steps = [batch for batch in seen if len(batch) == 6]
    assert len(steps) == 3
    sigmas = [0.25, 0.25]
    for step, batch in enumerate(steps):
        if step:
            shorter = search.replace("steps=3", f"steps={step}")
            sigmas = found_by(shorter, base_classifiers.Linear(), PICTURES[:2], ids=[9, 4], batch_size=6, seed=8)
            sigmas = sigmas.sigmas[:, 0].tolist()
            assert sigmas[0] != sigmas[1]
        for place, image_id in enumerate((9, 4)):
            noise = normals(8, Role.OPTIMISATION, image_id, 0, (step + 1) * 128)[-128:].reshape(2, 1, 8, 8)
            expected = PICTURES[place].numpy() + sigmas[place] * noise
            np.testing.assert_allclose(batch[2 * place : 2 * place + 2], expected, atol=3e-6)
        assert np.ptp(batch[4:], axis=(1, 2, 3)).tolist() == [0, 0]  # blank: no noise is drawn for it


def test_levels_stay_between_their_bounds() -> None:
    up = found_by("ddrs:steps=200,learning_rate=0.1", Certain(), PICTURES[:1])
    assert up.sigmas.tolist() == [[1.0, 1.0]]
    assert found_by("ddrs:steps=200,learning_rate=0.1,most=0.7", Certain(), PICTURES[:1]).sigmas[0, 0] == 0.7

    class Narrow(torch.nn.Module):
        """A class that noise destroys: the radius grows towards less noise."""

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            square = batch.flatten(1).square().sum(dim=1)
            return torch.stack([100 * (0.01 - square), 0 * square], dim=1)

    search = "ddrs:steps=50,learning_rate=0.1,draws=50,anchor=on,least=0.1"
    down = found_by(search, Narrow(), torch.zeros(1, 1, 1, 1), Gaussian(0.13), batch_size=50)
    assert down.sigmas.tolist() == [[0.1]]


def test_an_anchor_keeps_the_class_of_the_first_level() -> None:
    """One noisy draw takes the other class a third of the time; 100 draws do not."""
    images = torch.full((40, 1, 1, 1), 0.05)
    probit = Probit(weight=(30.0,), bias=3.0, t=0.5)
    free = found_by("ddrs:steps=1", probit, images, batch_size=40)
    fixed = found_by("ddrs:steps=1,anchor=on", probit, images, batch_size=40)
    assert 4 < (free.classes == 1).sum() < 24
    assert (free.objectives >= 0).all()
    assert (fixed.classes == 0).all()
    np.testing.assert_array_equal(fixed.objectives < 0, free.classes == 1)
    np.testing.assert_allclose(np.abs(fixed.objectives), free.objectives, rtol=1e-9)


def test_an_image_without_finite_logits_fails_alone() -> None:
    images = PICTURES[:3].clone()
    images[1] = 0.99
    found = found_by("ddrs:steps=5,learning_rate=0.01", base_classifiers.Dazzled(), images, Gaussian(0.05))
    assert [reason is None for reason in found.failed] == [True, False, True]
    assert found.failed[1] == (
        "no valid answer (logits NaN or infinite, or a label outside the classes) in step 1 of the search"
    )
    without = found_by("ddrs:steps=5,learning_rate=0.01", base_classifiers.Linear(), images, Gaussian(0.05))
    np.testing.assert_allclose(found.sigmas[::2], without.sigmas[::2], rtol=1e-9)
    assert found.sigmas[1, 0] == 0.05


def test_levels_of_neighbours_may_differ_by_far() -> None:
    """F is class 1 on [-0.3, 0.3], else class 0, in one dimension, with exact probabilities. From sigma 0.12 on, x = 1
    ends at a level with "radius" 1.711 of class 0, and x' = 0, at distance 1, is given class 1 at its own level: the
    certificate at one level says nothing of a classifier that seeks another level at each point.
    """
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def inside(at: torch.Tensor) -> torch.Tensor:
        return torch.special.ndtr((0.3 - x) / at) - torch.special.ndtr((-0.3 - x) / at)

    def slopes_at(level: torch.Tensor) -> Slopes:
        at = level.clone().requires_grad_()
        probabilities = torch.stack([1 - inside(at), inside(at)], dim=1)
        value = certified_radius(probabilities, at, "gaussian", 0.02)
        (slope,) = torch.autograd.grad(value.sum(), at)
        return Slopes(value.detach(), slope, probabilities.detach(), torch.ones(2, dtype=torch.bool))

    first = torch.full((2,), 0.12, dtype=torch.float64)
    found = ascend(first, Ddrs(steps=4000, learning_rate=1e-3), (0.01, 10.0), slopes_at)
    levels = found.levels[:, -1]
    assert levels.tolist() == pytest.approx([1.502, 0.129], abs=1e-3)
    assert found.classes[:, -1].tolist() == [0, 1]
    assert float(levels[0] * torch.special.ndtri(1 - inside(levels)[0])) == pytest.approx(1.711, abs=1e-3)
