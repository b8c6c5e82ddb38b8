"""A phase of a training: some epochs with one optimizer and one schedule of its learning rate."""

from collections.abc import Callable, Iterable
from math import cos, floor, pi
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, name_in, read_options
from raysmooth.common.variant import Variant

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")

Parameters: TypeAlias = "Iterable[torch.nn.Parameter]"
_AboveZero: TypeAlias = Annotated[int | float, Field(gt=0)]


OPTIMIZERS: Registry[Callable[[Parameters, float, float, float], "torch.optim.Optimizer"]] = Registry(
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
"""(parameters, learning rate, weight decay, momentum) -> a fresh optimizer; momentum is for SGD."""


def _step(epoch: int, phase: "Phase") -> float:
    # Drops of a stretched recipe may fall between epochs; the epsilon corrects quotients such as 3 / (30 * 0.1) < 1.
    return 1.0 if phase.step_size is None else phase.gamma ** floor(epoch / phase.step_size + 1e-9)


SCHEDULES: Registry[Callable[[int, "Phase"], float]] = Registry(
    "schedule",
    {
        "step": _step,
        "cosine": lambda epoch, phase: 0.5 * (1 + cos(pi * epoch / phase.epochs)),
        "constant": lambda epoch, phase: 1.0,
    },
)
"""(epoch of the phase, from 0; the phase) -> factor of its learning rate."""


@dataclass(frozen=True)
class Phase(Options):
    """Epochs under one optimizer, with fresh state: Adam's moments and SGD's momentum do not outlive a phase.

    The learning rate of the phase's epoch e, from 0, is `learning_rate` times the factor that `schedule` gives e;
    for "step" that is `gamma` ** floor(e / step_size), `step_size` in epochs, None for never. Raises RaysmoothError
    for an unknown name and for a number out of range.
    """

    epochs: PositiveInt
    optimizer: Annotated[str, name_in(OPTIMIZERS)]
    learning_rate: _AboveZero
    step_size: _AboveZero | None = None
    gamma: _AboveZero = 0.1
    schedule: Annotated[str, name_in(SCHEDULES)] = "step"

    def rate(self, epoch: int) -> float:
        """The learning rate in the phase's epoch `epoch`, from 0."""
        return self.learning_rate * SCHEDULES[self.schedule](epoch, self)


def described(phase: Phase) -> str:
    """'90 epochs of adam 0.001 (x0.1 every 30)'."""
    changes = "" if phase.step_size is None else f" (x{phase.gamma:g} every {phase.step_size:.3g})"
    if phase.schedule != "step":
        changes = f" ({phase.schedule})"
    return (
        f"{phase.epochs} epoch{'s' if phase.epochs > 1 else ''} of {phase.optimizer} {phase.learning_rate:g}{changes}"
    )


def parse_phases(text: str) -> tuple[Phase, ...]:
    """Read "adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100".

    Raises RaysmoothError for text of another form, unknown names, and values out of range.
    """
    return tuple(_parse_phase(part.strip()) for part in text.split(";"))


def _parse_phase(text: str) -> Phase:
    written = Variant.parse_entry(text, "phase", "adam:epochs=50,learning_rate=1e-3")
    return read_options(Phase, written, "phase", optimizer=written.name)
