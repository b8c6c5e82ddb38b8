"""What a training does for some epochs: an optimizer and how its learning rate falls. One row a kind of either."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from math import cos, floor, pi
from typing import Any, TypeAlias

import torch

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Variant

Parameters: TypeAlias = Iterable[torch.nn.Parameter]


@dataclass(frozen=True)
class Phase:
    """Epochs under one optimizer, which begins afresh: Adam's moments and SGD's momentum do not outlive a phase.

    The learning rate of the phase's epoch e, from 0, is `learning_rate` times the factor that `schedule` gives e;
    for "step" that is `gamma` ** floor(e / step_size), `step_size` in epochs, None for never. Raises RaysmoothError for a
    name or a number that cannot be.
    """

    epochs: int
    optimizer: str
    learning_rate: float
    step_size: float | None = None
    gamma: float = 0.1
    schedule: str = "step"

    def __post_init__(self) -> None:
        _ = OPTIMIZERS[self.optimizer], SCHEDULES[str(self.schedule)]
        if type(self.epochs) is not int or self.epochs < 1:
            raise RaysmoothError(f"epochs of a recipe is {self.epochs}: write a whole number above 0")
        for name in ("learning_rate", "step_size", "gamma"):
            value = getattr(self, name)
            if value is None and name == "step_size":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise RaysmoothError(f"{name} of a recipe is {value}: write a number above 0")

    def rate(self, epoch: int) -> float:
        """The learning rate in the phase's epoch `epoch`, from 0."""
        return self.learning_rate * SCHEDULES[self.schedule](epoch, self)


OPTIMIZERS: Registry[Callable[[Parameters, float, float, float], torch.optim.Optimizer]] = Registry(
    "optimizer",
    {
        "sgd": lambda parameters, rate, decay, momentum: torch.optim.SGD(
            parameters, rate, momentum=momentum, weight_decay=decay
        ),
        "nesterov": lambda parameters, rate, decay, momentum: torch.optim.SGD(
            parameters, rate, momentum=momentum, weight_decay=decay, nesterov=True
        ),
        "adam": lambda parameters, rate, decay, momentum: torch.optim.Adam(parameters, rate, weight_decay=decay),
        "adamw": lambda parameters, rate, decay, momentum: torch.optim.AdamW(parameters, rate, weight_decay=decay),
    },
)
"""(parameters, learning rate, weight decay, momentum) -> a fresh optimizer; momentum is SGD's, for others unused."""


def _step(epoch: int, phase: Phase) -> float:
    # A stretched recipe's drops fall between epochs; the epsilon keeps 3 / (30 * 0.1) from being less than 1.
    return 1.0 if phase.step_size is None else phase.gamma ** floor(epoch / phase.step_size + 1e-9)


SCHEDULES: Registry[Callable[[int, Phase], float]] = Registry(
    "schedule",
    {
        "step": _step,
        "cosine": lambda epoch, phase: 0.5 * (1 + cos(pi * epoch / phase.epochs)),
        "constant": lambda epoch, phase: 1.0,
    },
)
"""(epoch of the phase, from 0; the phase) -> what its learning rate is multiplied by."""


def parse_phases(text: str) -> tuple[Phase, ...]:
    """Read "adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100".

    Raises RaysmoothError for anything else, naming what a phase has.
    """
    return tuple(_parse_phase(part.strip()) for part in text.split(";"))


_OPTIONS = tuple(field.name for field in fields(Phase) if field.name != "optimizer")


def _parse_phase(text: str) -> Phase:
    how = f"write OPTIMIZER:epochs=N,learning_rate=R, each option once; options are {', '.join(_OPTIONS)}"
    try:
        written = Variant.parse(text)
    except RaysmoothError:
        raise RaysmoothError(f"'{text}' is no phase: {how}") from None
    options: dict[str, Any] = dict(written.options)
    for name in options:
        if name not in _OPTIONS:
            raise RaysmoothError(f"phase '{written.name}' has no option '{name}': options are {', '.join(_OPTIONS)}")
    for name in ("epochs", "learning_rate"):
        if name not in options:
            raise RaysmoothError(f"phase '{text}' does not tell its {name}: {how}")
    return Phase(optimizer=written.name, **options)
