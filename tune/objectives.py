"""What training minimises: one row an objective.

Every model here maps pixels, in [0, 1] units: a classifier has its normalisation inside, after the noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch.nn.functional import cross_entropy, mse_loss

from actors.table import Table

Model: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

Noise: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Images (B, C, H, W) -> fresh noise of that shape, in pixel units, at every call."""


@dataclass(frozen=True)
class ClassifierObjective:
    """`loss(classifier, images, labels, noise)` is a scalar; labels are int64 (B,), `classifier` gives logits."""

    loss: Callable[[Model, torch.Tensor, torch.Tensor, Noise], torch.Tensor]
    needs_sigma: bool
    summary: str


@dataclass(frozen=True)
class DenoiserObjective:
    """`loss(denoiser, classifier, images, labels, noise)` is a scalar; the classifier is frozen, gives logits.

    `starts_from` names the objective whose weights training begins with; None begins with fresh ones.
    """

    loss: Callable[[Model, Model, torch.Tensor, torch.Tensor, Noise], torch.Tensor]
    needs_classifier: bool
    summary: str
    starts_from: str | None = None


def clean_loss(classifier: Model, images: torch.Tensor, labels: torch.Tensor, noise: Noise) -> torch.Tensor:
    """CE(F(x), y)."""
    return cross_entropy(classifier(images), labels)


def gaussian_loss(classifier: Model, images: torch.Tensor, labels: torch.Tensor, noise: Noise) -> torch.Tensor:
    """CE(F(x + delta), y) (Cohen et al. 2019, section 3.3)."""
    return cross_entropy(classifier(images + noise(images)), labels)


def reconstruction_loss(
    denoiser: Model, classifier: Model, images: torch.Tensor, labels: torch.Tensor, noise: Noise
) -> torch.Tensor:
    """Mean over images and pixels of (D(x + delta) - x)^2 (Salman et al. 2020, equation 4)."""
    return mse_loss(denoiser(images + noise(images)), images)


def stability_loss(
    denoiser: Model, classifier: Model, images: torch.Tensor, labels: torch.Tensor, noise: Noise
) -> torch.Tensor:
    """CE(F(D(x + delta)), f(x)) (Salman et al. 2020, equation 5).

    f(x) is the classifier's own hard prediction on the clean image, so no labels are needed.
    """
    with torch.no_grad():
        targets = classifier(images).argmax(dim=1)
    return cross_entropy(classifier(denoiser(images + noise(images))), targets)


CLASSIFIER_OBJECTIVES: Table[ClassifierObjective] = Table(
    "classifier objective",
    {
        "clean": ClassifierObjective(clean_loss, needs_sigma=False, summary="cross-entropy"),
        "gaussian": ClassifierObjective(gaussian_loss, needs_sigma=True, summary="cross-entropy on noisy images"),
    },
)

DENOISER_OBJECTIVES: Table[DenoiserObjective] = Table(
    "denoiser objective",
    {
        "mse": DenoiserObjective(reconstruction_loss, False, "nearness to the clean image"),
        "stab": DenoiserObjective(stability_loss, True, "the classifier's prediction stays what it was"),
        "stab+mse": DenoiserObjective(stability_loss, True, "stab, from mse's weights", starts_from="mse"),
    },
)
