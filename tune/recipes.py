"""How training steps: optimizer, learning rate, schedule. One row a recipe; every value can be overridden."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from actors.refusal import Refusal
from actors.table import Table
from tune.augment import AUGMENTATIONS


@dataclass(frozen=True)
class Recipe:
    """The learning rate is multiplied by `gamma` every `step_size` epochs; `momentum` is SGD's, for others unused.

    `source` says where the values come from. Raises Refusal for a name or a number that cannot be.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    step_size: int
    gamma: float
    weight_decay: float
    momentum: float
    augment: str
    source: str

    def __post_init__(self) -> None:
        _ = OPTIMIZERS[self.optimizer], AUGMENTATIONS[self.augment]
        for name in ("epochs", "batch_size", "learning_rate", "step_size", "gamma"):
            if not getattr(self, name) > 0:
                raise Refusal(f"{name} of a recipe is {getattr(self, name)}: write a number above 0")
        if self.optimizer == "nesterov" and not self.momentum > 0:
            raise Refusal(f"nesterov with momentum {self.momentum} is plain SGD: write --optimizer sgd")


OPTIMIZERS: Table[Callable[[Iterable[torch.nn.Parameter], Recipe], torch.optim.Optimizer]] = Table(
    "optimizer",
    {
        "sgd": lambda parameters, recipe: torch.optim.SGD(
            parameters, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        ),
        "nesterov": lambda parameters, recipe: torch.optim.SGD(
            parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
        ),
        "adam": lambda parameters, recipe: torch.optim.Adam(
            parameters, recipe.learning_rate, weight_decay=recipe.weight_decay
        ),
    },
)

_DENOISED = "Salman et al. 2020, appendix A"
_CONSISTENCY = "Jeong & Shin 2020, supplement"
_DIGITS = "tuned for raysmooth's demo"

# One line a recipe, so that they can be compared.
RECIPES: Table[Recipe] = Table(
    "recipe",
    {
        #                            epochs batch optimizer lr step gamma decay momentum augment source
        "paper-classifier": Recipe(300, 256, "sgd", 0.1, 100, 0.1, 5e-4, 0.9, "crop-flip", _DENOISED),
        "paper-mse": Recipe(90, 256, "adam", 1e-3, 30, 0.1, 1e-4, 0.9, "crop-flip", _DENOISED),
        # One corner of the paper's sweep over {Adam, SGD} x {1e-4, 1e-5}.
        "paper-stab+mse": Recipe(20, 256, "adam", 1e-4, 30, 0.1, 1e-4, 0.9, "crop-flip", _DENOISED),
        "mnist-classifier": Recipe(90, 256, "nesterov", 1e-2, 30, 0.1, 1e-4, 0.9, "none", _CONSISTENCY),
        "digits-classifier": Recipe(60, 64, "adam", 1e-2, 40, 0.1, 1e-3, 0.9, "shift", _DIGITS),
        "digits-mse": Recipe(60, 64, "adam", 1e-2, 40, 0.1, 1e-4, 0.9, "none", _DIGITS),
        "digits-stab+mse": Recipe(60, 128, "adam", 3e-3, 45, 0.1, 1e-4, 0.9, "none", _DIGITS),
    },
)

# Nothing else gets a recipe unasked: mirrored digits, say, would be learnt without a word.
_MADE_FOR = {"digits": "digits", "mnist": "mnist", "cifar10": "paper", "cifar10-jpeg": "paper"}


def default_recipe(dataset: str, kind: str) -> str:
    """The name of the recipe made for `kind` ("classifier", or a denoiser's objective) on this data set.

    Raises Refusal if there is none.
    """
    name = f"{_MADE_FOR.get(dataset, dataset)}-{kind}"
    if name not in RECIPES:
        raise Refusal(f"no recipe is made for {kind} on {dataset}: write --recipe with one of {', '.join(RECIPES)}")
    return name
