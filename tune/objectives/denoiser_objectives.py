"""Losses of denoisers.

Every model maps pixels; the classifier is frozen, and gradients flow through it to the denoiser alone.
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from raysmooth.actors.attacks.soft_smoothing import Model
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options
from raysmooth.tune.objectives.objective import DenoiserObjective, Noise, ObjectiveEntry

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LateModule("torch"), LateModule("torch.nn.functional")


@dataclass(frozen=True)
class Reconstruction(Options):
    """Mean over images and pixels of (D(x + delta) - x)^2."""

    needs_classifier: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False

    def __call__(
        self, denoiser: Model, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise
    ) -> "torch.Tensor":
        return functional.mse_loss(denoiser(images + noise(images)), images)


@dataclass(frozen=True)
class Stability(Options):
    """CE(F(D(x + delta)), f(x)), f(x) being the classifier's own hard prediction on the clean image."""

    needs_classifier: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    def __call__(
        self, denoiser: Model, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise
    ) -> "torch.Tensor":
        with torch.no_grad():
            targets = classifier(images).argmax(dim=1)
        return functional.cross_entropy(classifier(denoiser(images + noise(images))), targets)


@dataclass(frozen=True)
class Classification(Options):
    """CE(F(D(x + delta)), y) with the true labels y."""

    needs_classifier: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __call__(
        self, denoiser: Model, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise
    ) -> "torch.Tensor":
        return functional.cross_entropy(classifier(denoiser(images + noise(images))), labels)


_SALMAN = "Salman et al. 2020"

DENOISER_OBJECTIVES: Registry[ObjectiveEntry[DenoiserObjective]] = Registry(
    "denoiser objective",
    {
        "mse": ObjectiveEntry(Reconstruction, "distance to the clean image", f"{_SALMAN}, equation 4"),
        "stab": ObjectiveEntry(
            Stability, "the classifier's prediction on the clean image is kept", f"{_SALMAN}, equation 5"
        ),
        "stab+mse": ObjectiveEntry(Stability, "stab, from mse's weights", f"{_SALMAN}, section 2.3", starts_from="mse"),
        "clf": ObjectiveEntry(Classification, "the classifier's prediction is correct", f"{_SALMAN}, equation 6"),
        "clf+mse": ObjectiveEntry(
            Classification, "clf, from mse's weights", f"{_SALMAN}, appendix E", starts_from="mse"
        ),
    },
)
