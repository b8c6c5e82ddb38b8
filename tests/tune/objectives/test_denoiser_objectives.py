"""Losses worked by hand on a classifier with two classes and logits (x, 0), x being an image of one pixel."""

from math import exp, log

import numpy as np
import pytest
import torch
from scripted import Linear, Scale, ScriptedNoise

from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.objective import parse_objective

IMAGES = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
LABELS = torch.tensor([1, 0])  # wrong on purpose: STAB must not look at them, CLF must


def frozen_classifier() -> Linear:
    return Linear(np.array([[1.0], [0.0]])).eval().requires_grad_(False)


def loss_of(name: str, denoiser: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, *draws: float):
    _, _, objective = parse_objective(name, DENOISER_OBJECTIVES)
    return objective(denoiser, frozen_classifier(), images, labels, ScriptedNoise(np.array(draws)))


def cross_entropy(logit: float, label: int) -> float:
    """-log of the softmax of (logit, 0) at `label`."""
    return log(1 + exp(-logit)) if label == 0 else log(1 + exp(logit))


# The noise is 0.5, the denoiser doubles: 1.5 -> 3 and -1.5 -> -3. On the clean images the classifier says 0 and 1.
MSE = ((3.0 - 1.0) ** 2 + (-3.0 + 2.0) ** 2) / 2
STABILITY = (cross_entropy(3.0, 0) + cross_entropy(-3.0, 1)) / 2
CLASSIFICATION = (cross_entropy(3.0, 1) + cross_entropy(-3.0, 0)) / 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mse", MSE), ("stab", STABILITY), ("stab+mse", STABILITY), ("clf", CLASSIFICATION), ("clf+mse", CLASSIFICATION)],
)
def test_losses(name: str, expected: float) -> None:
    assert loss_of(name, Scale(2.0), IMAGES, LABELS, 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_what_starts_from_what_and_needs_what() -> None:
    found = {name: (entry.starts_from, entry.build.needs_classifier, entry.build.needs_labels)
             for name, entry in DENOISER_OBJECTIVES.items()}  # fmt: skip
    assert found == {
        "mse": (None, False, False),
        "stab": (None, True, False),
        "stab+mse": ("mse", True, False),
        "clf": (None, True, True),
        "clf+mse": ("mse", True, True),
    }


def test_stability_targets_come_from_the_clean_image() -> None:
    """Noise that turns the prediction around raises the loss; it does not move the target."""
    image = torch.full((1, 1, 1, 1), 1.0)
    assert loss_of("stab", Scale(1.0), image, LABELS[:1], -3.0).item() == pytest.approx(cross_entropy(-2.0, 0))


@pytest.mark.parametrize("name", DENOISER_OBJECTIVES)
def test_gradients_reach_the_denoiser_alone(name: str) -> None:
    classifier = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 2))
    classifier.eval().requires_grad_(False)
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    denoiser = Scale(2.0)
    _, _, objective = parse_objective(name, DENOISER_OBJECTIVES)
    objective(denoiser, classifier, IMAGES, LABELS, ScriptedNoise([torch.tensor(0.5)])).backward()
    assert denoiser.weight.grad is not None
    assert denoiser.weight.grad != 0
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", (2 * (3.0 - 1.0) * 1.5 + 2 * (-3.0 + 2.0) * -1.5) / 2),
        # Both images: log(1 + exp(-1.5 w)) at w = 2.
        ("stab", -1.5 / (1 + exp(3))),
        # Both images: log(1 + exp(1.5 w)) at w = 2.
        ("clf", 1.5 / (1 + exp(-3))),
    ],
)
def test_gradients_worked_by_hand(name: str, expected: float) -> None:
    denoiser = Scale(2.0)
    loss_of(name, denoiser, IMAGES, LABELS, 0.5).backward()
    assert denoiser.weight.grad is not None
    assert denoiser.weight.grad.item() == pytest.approx(expected, rel=1e-5)
