"""The registry of recipes, and which of them is made for a data set. Published recipes are named after the source of
their values, general ones after the images that they are for; every value can be overridden.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from raysmooth.common.errors import RaysmoothError, nearest, printable
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Option
from raysmooth.tune.recipes.general import GENERAL, Kind, general_recipes, kind_of
from raysmooth.tune.recipes.phases import Phase
from raysmooth.tune.recipes.recipe import Recipe

_DENOISED = "Salman et al. 2020, appendix A"
_CONSISTENCY = "Jeong & Shin 2020, supplement A.1"
_REJECTION = "Sheikholeslami et al. 2022, section 6.3; batch, decay, momentum and augmentation not stated, as for MSE"
_DATA_DEPENDENT = (
    "Alfarra et al. 2022: epochs of section 4; the other values are defaults of the published code, not in the paper"
)
_DIGITS = "tuned for raysmooth's demo"


def _cifar10_stab(start: float, step: int) -> Recipe:
    """AdamThenSGD: Adam for 50 of the 600 epochs, then SGD from `start`, /10 every `step` epochs."""
    phases = (Phase(50, "adam", 1e-3), Phase(550, "sgd", start, step))
    return Recipe(phases, 256, 1e-4, 0.9, "crop-flip", f"{_DENOISED}, table 4 and list below it")


# Table 4 lists equal values for DnCNN, DnCNN-wide and MemNet: one recipe serves the three. The classification
# objectives use those of the stability objective (appendix E).
RECIPES: Registry[Recipe] = Registry(
    "recipe",
    {
        #                                        epochs optimizer rate drop batch decay momentum augment source
        "salman2020-cifar10-classifier": Recipe((Phase(300, "sgd", 0.1, 100),), 256, 5e-4, 0.9, "crop-flip", _DENOISED),
        "salman2020-cifar10-mse": Recipe((Phase(90, "adam", 1e-3, 30),), 256, 1e-4, 0.9, "crop-flip", _DENOISED),
        **{
            f"salman2020-cifar10-stab+mse-{optimizer}-{rate}": Recipe(
                (Phase(20, optimizer, float(rate)),), 256, 1e-4, 0.9, "crop-flip", _DENOISED
            )
            for optimizer in ("adam", "sgd")
            for rate in ("1e-4", "1e-5")
        },
        "salman2020-cifar10-stab-1": _cifar10_stab(1e-4, 100),
        "salman2020-cifar10-stab-2": _cifar10_stab(1e-3, 100),
        "salman2020-cifar10-stab-3": _cifar10_stab(1e-4, 200),
        "salman2020-cifar10-stab-4": _cifar10_stab(1e-3, 200),
        "salman2020-cifar10-stab-5": _cifar10_stab(1e-2, 200),
        "salman2020-cifar10-stab-6": _cifar10_stab(1e-3, 400),
        "salman2020-imagenet-mse": Recipe((Phase(5, "adam", 1e-4),), 256, 1e-4, 0.9, "resized-crop-flip", _DENOISED),
        "salman2020-imagenet-stab+mse": Recipe(
            (Phase(20, "adam", 1e-5),), 256, 1e-4, 0.9, "resized-crop-flip", _DENOISED
        ),
        "jeong2020-mnist": Recipe((Phase(90, "nesterov", 0.01, 30),), 256, 1e-4, 0.9, "none", _CONSISTENCY),
        "jeong2020-cifar10": Recipe((Phase(150, "nesterov", 0.1, 50),), 256, 1e-4, 0.9, "crop-flip", _CONSISTENCY),
        "jeong2020-imagenet": Recipe(
            (Phase(90, "nesterov", 0.1, 30),), 200, 1e-4, 0.9, "resized-crop-flip", _CONSISTENCY
        ),
        "sheikholeslami2022-cifar10": Recipe(
            (Phase(5, "adam", 1e-4), Phase(15, "sgd", 1e-3, 5)), 256, 1e-4, 0.9, "crop-flip", _REJECTION
        ),
        # For ResNet-18. On ImageNet the paper fine-tunes for 30 epochs, at a rate that nothing states: its code takes
        # the optimizer's state over from the weights that it starts from.
        "alfarra2022-cifar10": Recipe((Phase(200, "sgd", 0.01, 30),), 128, 5e-4, 0.9, "crop-flip", _DATA_DEPENDENT),
        "digits-classifier": Recipe((Phase(60, "adam", 1e-2, 40),), 64, 1e-3, 0.9, "shift", _DIGITS),
        "digits-mse": Recipe((Phase(60, "adam", 1e-2, 40),), 64, 1e-4, 0.9, "none", _DIGITS),
        "digits-stab+mse": Recipe((Phase(60, "adam", 3e-3, 45),), 128, 1e-4, 0.9, "none", _DIGITS),
        **GENERAL,
    },
)

_CIFAR10 = {
    "clean": "salman2020-cifar10-classifier",
    "classifier": "jeong2020-cifar10",
    "mse": "salman2020-cifar10-mse",
    # One of the paper's four: {Adam, SGD} x {1e-4, 1e-5}. For stab, the first of its six.
    "stab+mse": "salman2020-cifar10-stab+mse-adam-1e-4",
    "stab": "salman2020-cifar10-stab-1",
    "rejector": "sheikholeslami2022-cifar10",
}
_MADE_FOR: Mapping[str, Mapping[str, str]] = {
    "digits": {"classifier": "digits-classifier", "mse": "digits-mse", "stab+mse": "digits-stab+mse"},
    "mnist": {"classifier": "jeong2020-mnist"},
    "cifar10": _CIFAR10,
    "cifar10-jpeg": _CIFAR10,
    "imagenet": {
        "classifier": "jeong2020-imagenet",
        "mse": "salman2020-imagenet-mse",
        "stab+mse": "salman2020-imagenet-stab+mse",
    },
}


_LIKE = {"clf": "stab", "clf+mse": "stab+mse"}
"""The classification objectives of denoisers have the recipes of the stability objectives (appendix E)."""

_PARTS: Mapping[Kind, str] = {
    "classifier": "(^jeong2020|^alfarra2022|-classifier$)",
    "rejector": "(^sheikholeslami2022|-rejector$)",
}
"""What the names of the recipes of a kind have in common. Those of denoisers end in an objective."""


def made_for(dataset: str, objective: str) -> str | None:
    """The name of the recipe that is made for this objective on this data set; None if there is none.

    Objectives of classifiers and of rejectors without a recipe of their own use that of "classifier" or "rejector".
    """
    made = _MADE_FOR.get(dataset, {})
    like = _LIKE.get(objective, objective)
    return made.get(like) or made.get(kind_of(objective))


def fitting_recipes(dataset: str, objective: str) -> list[str]:
    """The names of the recipes for this objective: those of this data set, if there are any, else of all; then the
    general ones.
    """
    like = _LIKE.get(objective, objective)
    part = _PARTS.get(kind_of(objective), f"-{re.escape(like)}(-|$)")
    published = [name for name in RECIPES if name not in GENERAL and re.search(part, name)]
    own = [name for name in published if dataset.removesuffix("-jpeg") in name]
    return [*(own or published), *general_recipes(objective)]


def recipe_named(name: str, dataset: str, objective: str) -> Recipe:
    """The recipe of this name. Raises RaysmoothError, naming those that fit, for an unknown one."""
    if name in RECIPES:
        return RECIPES[name]
    hint = nearest(name, RECIPES).partition("(known")[0]
    hint = "" if hint.startswith("known") else hint
    raise RaysmoothError(
        f"unknown recipe '{printable(name)}': {hint}for {objective} on {dataset} write one of "
        f"{', '.join(fitting_recipes(dataset, objective))}, or leave --recipe out"
    )


_MNIST_RUN = 90
PublishedOptions = Mapping[float | None, Mapping[str, Option]]

# Options of the supplement beyond its recipes: by (recipe, objective) and sigma, None for any other. Table 1 quotes
# epsilon in units of 1/256, so that 255 is 0.996. `warmup` and `deferral` count the recipe's epochs.
PUBLISHED_OPTIONS: Mapping[tuple[str, str], PublishedOptions] = MappingProxyType(
    {
        ("jeong2020-mnist", "consistency"): {0.25: {"lambda": 10}, 0.5: {"lambda": 5}, 1.0: {"lambda": 5}},
        ("jeong2020-mnist", "stability"): {None: {"lambda": 2}},
        ("jeong2020-mnist", "smoothadv"): {None: {"attack": "pgd", "steps": 10, "epsilon": 1.0, "m": 4, "warmup": 10}},
        ("jeong2020-mnist", "macer"): {
            None: {"m": 16, "lambda": 16, "gamma": 8, "beta": 16, "deferral": 30},
            1.0: {"m": 16, "lambda": 6, "gamma": 8, "beta": 16, "deferral": 30},
        },
        ("jeong2020-cifar10", "consistency"): {0.25: {"lambda": 20}, 0.5: {"lambda": 10}, 1.0: {"lambda": 10}},
        ("jeong2020-cifar10", "stability"): {0.25: {"lambda": 2}, 0.5: {"lambda": 2}, 1.0: {"lambda": 1}},
        ("jeong2020-cifar10", "smoothadv"): {
            0.25: {"attack": "pgd", "steps": 10, "epsilon": 255 / 256, "m": 4, "warmup": 10},
            0.5: {"attack": "pgd", "steps": 10, "epsilon": 2.0, "m": 2, "warmup": 10},
            1.0: {"attack": "pgd", "steps": 10, "epsilon": 2.0, "m": 2, "warmup": 10},
        },
        ("jeong2020-imagenet", "smoothadv"): {
            0.5: {"attack": "pgd", "steps": 1, "epsilon": 255 / 256, "m": 1, "warmup": 10},
            1.0: {"attack": "pgd", "steps": 1, "epsilon": 2.0, "m": 1, "warmup": 10},
        },
    }
)
IN_EPOCHS = ("warmup", "deferral")
"""Options in epochs, which scale with the recipe."""


def published_options(recipe: str, objective: str, sigma: float | None, epochs: int) -> dict[str, Option]:
    """Published options of `objective` with the recipe at this sigma, scaled to `epochs` epochs; {} for none."""
    known = PUBLISHED_OPTIONS.get((recipe, objective), {})
    options = known.get(sigma, known.get(None, {}))
    return {
        name: stretched_option(recipe, float(value), epochs) if name in IN_EPOCHS else value
        for name, value in options.items()
    }


def stretched_option(recipe: str, value: float, epochs: int) -> float:
    """An option of `IN_EPOCHS`, scaled from the recipe's epochs to `epochs`."""
    return round(value * epochs / RECIPES[recipe].epochs, 4)
