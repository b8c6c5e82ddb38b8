"""Losses worked by hand on a classifier with two classes and logits (x, 0), x being an image of one pixel."""

from math import exp, log

import pytest
import torch

from tune.objectives import CLASSIFIER_OBJECTIVES, DENOISER_OBJECTIVES

IMAGES = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
LABELS = torch.tensor([1, 0])  # wrong on purpose: STAB must not look at them


def classifier(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(images.flatten(1), (0, 1))


def noise(images: torch.Tensor) -> torch.Tensor:
    return torch.full_like(images, 0.5)


class Scale(torch.nn.Module):
    """A denoiser with one weight: x -> w x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight * images


def cross_entropy(logit: float, label: int) -> float:
    """-log of the softmax of (logit, 0) at `label`."""
    return log(1 + exp(-logit)) if label == 0 else log(1 + exp(logit))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("clean", (cross_entropy(1.0, 1) + cross_entropy(-2.0, 0)) / 2),
        ("gaussian", (cross_entropy(1.5, 1) + cross_entropy(-1.5, 0)) / 2),
    ],
)
def test_classifier_losses(objective: str, expected: float) -> None:
    assert CLASSIFIER_OBJECTIVES[objective].loss(classifier, IMAGES, LABELS, noise).item() == pytest.approx(expected)


# The denoiser doubles: 1.5 -> 3 and -1.5 -> -3. On the clean images the classifier says 0 and 1.
STABILITY = (cross_entropy(3.0, 0) + cross_entropy(-3.0, 1)) / 2


@pytest.mark.parametrize(
    ("objective", "expected"),
    [("mse", ((3.0 - 1.0) ** 2 + (-3.0 + 2.0) ** 2) / 2), ("stab", STABILITY), ("stab+mse", STABILITY)],
)
def test_denoiser_losses(objective: str, expected: float) -> None:
    loss = DENOISER_OBJECTIVES[objective].loss(Scale(2.0), classifier, IMAGES, LABELS, noise)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_stability_targets_come_from_the_clean_image() -> None:
    """Noise and denoiser that turn every prediction around raise the loss; they do not move the target."""
    images = torch.full((1, 1, 1, 1), 1.0)
    loss = DENOISER_OBJECTIVES["stab"].loss(Scale(1.0), classifier, images, LABELS[:1], lambda x: -3.0 * x)
    assert loss.item() == pytest.approx(cross_entropy(-2.0, 0))


def test_gradients_flow_through_the_classifier_to_the_denoiser_alone() -> None:
    frozen = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 2)).eval().requires_grad_(False)
    denoiser = Scale(2.0)
    DENOISER_OBJECTIVES["stab"].loss(denoiser, frozen, IMAGES, LABELS, noise).backward()
    assert denoiser.weight.grad is not None
    assert denoiser.weight.grad != 0
    assert all(parameter.grad is None for parameter in frozen.parameters())


def test_stability_gradient_worked_by_hand() -> None:
    """d/dw of the mean of log(1 + exp(-1.5 w)) and log(1 + exp(-1.5 w)) at w = 2 is -1.5 / (1 + exp(3))."""
    denoiser = Scale(2.0)
    DENOISER_OBJECTIVES["stab"].loss(denoiser, classifier, IMAGES, LABELS, noise).backward()
    assert denoiser.weight.grad is not None
    assert denoiser.weight.grad.item() == pytest.approx(-1.5 / (1 + exp(3)), rel=1e-5)
