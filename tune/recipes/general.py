"""Recipes for images of one's own, by their number and size: the defaults where none is made for the data set."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.recipes.phases import Phase
from raysmooth.tune.recipes.recipe import Recipe

FEW = 5_000
"""Fewer images are few: they have smaller batches and more epochs, so that 300 images make about 1,700 steps, and
50,000 make 20,000."""

SMALL = 64 * 64
"""Pixels up to which images are small. A denoiser learns from pixels, so it needs fewer epochs of larger images."""

Kind: TypeAlias = Literal["classifier", "denoiser", "tuning", "rejector"]

_ADAMW = "AdamW's rate and torch's decay (Loshchilov & Hutter 2019), tried on MNIST"
_MSE = "rate, drops and decay of Salman et al. 2020 for MSE on CIFAR-10"
_REJECTING = "Adam's rate (Kingma & Ba 2015), tried on the digits and on MNIST"
_TUNED = "rate and decay of Salman et al. 2020 for STAB+MSE on CIFAR-10"


def _classifier(epochs: int, batch: int, augment: str) -> Recipe:
    return Recipe((Phase(epochs, "adamw", 1e-3, schedule="cosine"),), batch, 1e-2, 0.9, augment, _ADAMW)


def _denoiser(epochs: int, batch: int) -> Recipe:
    return Recipe((Phase(epochs, "adam", 1e-3, epochs // 3),), batch, 1e-4, 0.9, "none", _MSE)


def _rejector(epochs: int, batch: int) -> Recipe:
    return Recipe((Phase(epochs, "adam", 1e-3, schedule="cosine"),), batch, 1e-4, 0.9, "none", _REJECTING)


def _tuning(epochs: int, batch: int) -> Recipe:
    return Recipe((Phase(epochs, "adam", 1e-4),), batch, 1e-4, 0.9, "none", _TUNED)


GENERAL: dict[str, Recipe] = {
    #                                        epochs batch
    "general-classifier-few-small": _classifier(100, 16, "shift"),
    "general-classifier-few-large": _classifier(100, 16, "crop"),
    "general-classifier-many-small": _classifier(50, 128, "shift"),
    "general-classifier-many-large": _classifier(50, 64, "crop"),
    "general-denoiser-few-small": _denoiser(90, 16),
    "general-denoiser-few-large": _denoiser(30, 8),
    "general-denoiser-many-small": _denoiser(45, 128),
    "general-denoiser-many-large": _denoiser(15, 32),
    "general-tuning-few-small": _tuning(40, 16),
    "general-tuning-few-large": _tuning(15, 8),
    "general-tuning-many-small": _tuning(20, 128),
    "general-tuning-many-large": _tuning(10, 32),
    "general-rejector-few-small": _rejector(10, 16),
    "general-rejector-few-large": _rejector(5, 8),
    "general-rejector-many-small": _rejector(5, 64),
    "general-rejector-many-large": _rejector(3, 16),
}
"""Those of one kind differ in epochs, batch size and augmentation only. None mirrors: own images may be letters or
digits."""


@dataclass(frozen=True)
class ImageSet:
    """The images that a training uses, held-out ones included: their number, and the size of the first in pixels."""

    count: int
    height: int
    width: int

    @property
    def few(self) -> bool:
        return self.count < FEW

    @property
    def small(self) -> bool:
        return self.height * self.width <= SMALL

    def __str__(self) -> str:
        many = f"{'fewer than' if self.few else 'at least'} {FEW:,}"
        size = f"{'up to' if self.small else 'above'} 64x64 pixels"
        return f"{self.count:,} images of {self.height}x{self.width} ({many}, {size})"


def kind_of(objective: str) -> Kind:
    """What a training with the objective of this name is: of a classifier, of a denoiser, of one that is trained
    already, or of a rejector.
    """
    if objective in REJECTOR_OBJECTIVES:
        return "rejector"
    if objective not in DENOISER_OBJECTIVES:
        return "classifier"
    return "denoiser" if DENOISER_OBJECTIVES[objective].starts_from is None else "tuning"


def general_recipe(objective: str, images: ImageSet) -> str:
    """The name of the recipe for an objective and images for which none is made."""
    return f"general-{kind_of(objective)}-{'few' if images.few else 'many'}-{'small' if images.small else 'large'}"


def general_recipes(objective: str) -> list[str]:
    """The names of the recipes that `general_recipe` chooses from."""
    return [name for name in GENERAL if name.startswith(f"general-{kind_of(objective)}-")]
