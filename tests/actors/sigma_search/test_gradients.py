"""Slopes of the objective in three ways, compared with a closed form."""

import warnings
from collections.abc import Callable

import pytest
import torch
from closed_forms import Probit, quantiles

from raysmooth.actors.sigma_search.gradients import Slopes, mean_softmax
from raysmooth.actors.sigma_search.objective import certified_radius
from raysmooth.actors.sigma_search.search_options import GRADIENTS
from raysmooth.common.errors import RaysmoothError

IMAGES = torch.tensor([0.2, 0.7, -0.5]).view(-1, 1, 1, 1)
LEVEL = torch.tensor([0.3, 0.5, 0.9], dtype=torch.float64)


def objective(probabilities: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    return certified_radius(probabilities, level, "gaussian", 0.001)


def slopes(
    way: str,
    classifier: Callable[[torch.Tensor], torch.Tensor],
    noise: torch.Tensor,
    largest: int = 10**6,
    images: torch.Tensor = IMAGES,
) -> Slopes:
    level = LEVEL[: len(images)]
    found: Slopes = GRADIENTS[way].compute(
        lambda pixels: classifier(pixels).double(), images, noise, level, objective, largest
    )
    return found


@pytest.mark.parametrize("way", GRADIENTS)
def test_a_linear_classifier_has_the_closed_form(way: str) -> None:
    probit = Probit()
    found = slopes(way, probit, quantiles(20_001).expand(3, -1, -1, -1, -1))
    for place, (image, sigma) in enumerate(zip(IMAGES, LEVEL.tolist(), strict=True)):
        # A negative radius of class 0 is a positive one of class 1.
        assert float(found.value[place]) == pytest.approx(abs(probit.radius(image, sigma)), rel=1e-3)
        assert float(found.slope[place]) == pytest.approx(abs(probit.slope(image, sigma)), rel=2e-3)
    assert found.probabilities.argmax(dim=1).tolist() == [0, 0, 1]
    assert found.finite.all()


def test_the_three_ways_agree_on_any_network_in_passes_of_any_size() -> None:
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()
    )
    network = torch.nn.Sequential(network, torch.nn.Linear(24, 5)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    images, noise = torch.rand(3, 2, 6, 6, generator=generator), torch.randn(3, 7, 2, 6, 6, generator=generator)
    exact = slopes("backward", network, noise, images=images)
    assert exact.slope.abs().min() > 1e-3
    for way in GRADIENTS:
        for largest in (1, 3, 7, 15, 21):
            found = slopes(way, network, noise, largest, images)
            torch.testing.assert_close(found.value, exact.value, rtol=1e-5, atol=1e-7)
            rounding = 0.1 if way == "difference" else 1e-4
            torch.testing.assert_close(found.slope, exact.slope, rtol=rounding, atol=rounding * 1e-1)
            torch.testing.assert_close(found.probabilities, exact.probabilities, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("way", GRADIENTS)
@pytest.mark.parametrize("largest", [2, 100])
def test_an_image_without_finite_logits_spoils_no_other(way: str, largest: int) -> None:
    def dazzled(pixels: torch.Tensor) -> torch.Tensor:
        logits = Probit()(pixels)
        return torch.where(pixels.flatten(1) > 50, torch.nan, logits)

    noise = quantiles(5).expand(3, -1, -1, -1, -1)
    with_one = slopes(way, dazzled, noise, largest, torch.tensor([0.2, 99.0, -0.5]).view(-1, 1, 1, 1))
    without = slopes(way, Probit(), noise, largest)
    assert with_one.finite.tolist() == [True, False, True]
    assert with_one.slope.isfinite().tolist() == [True, False, True]
    torch.testing.assert_close(with_one.slope[[0, 2]], without.slope[[0, 2]])


def test_each_draw_is_moved_by_the_level_of_its_own_image() -> None:
    """The published training code gives a draw the level of another image (its levels are in the order of images, its
    images in the order of draws).
    """
    seen = []

    def watching(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels.detach().flatten().clone())
        return Probit()(pixels).double()

    noise = torch.arange(1.0, 7.0).view(3, 2, 1, 1, 1)
    mean_softmax(watching, IMAGES, noise, LEVEL, 100)
    expected = [0.2 + 0.3 * 1, 0.2 + 0.3 * 2, 0.7 + 0.5 * 3, 0.7 + 0.5 * 4, -0.5 + 0.9 * 5, -0.5 + 0.9 * 6]
    assert seen[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_forward_mode_names_the_other_ways_where_an_operation_has_none() -> None:
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(pixels: torch.Tensor) -> torch.Tensor:
            return pixels / 2

        @staticmethod
        def setup_context(*_: object) -> None:
            """Nothing is kept."""

        @staticmethod
        def backward(_: object, gradient: torch.Tensor) -> torch.Tensor:
            return gradient / 2

    noise = quantiles(5).expand(3, -1, -1, -1, -1)
    with pytest.raises(RaysmoothError, match="in forward mode: write --search ddrs:gradient=backward"):
        slopes("forward", lambda pixels: Probit()(Halved.apply(pixels)), noise)
    assert slopes("backward", lambda pixels: Probit()(Halved.apply(pixels)), noise).finite.all()


def test_forward_mode_starts_without_torchs_own_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slopes("forward", Probit(), quantiles(5).expand(3, -1, -1, -1, -1))
