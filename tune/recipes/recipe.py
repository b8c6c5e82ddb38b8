"""What a recipe is: phases of an optimizer and a schedule, batch size, augmentation."""

from dataclasses import dataclass, replace
from typing import Self

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.data.augment import AUGMENTATIONS
from raysmooth.tune.recipes.phases import Phase, described


@dataclass(frozen=True)
class Recipe:
    """`momentum` is for SGD; gradients are clipped to the l2 norm `clip_norm` over all parameters. `source` says where
    the values come from.
    """

    phases: tuple[Phase, ...]
    batch_size: int
    weight_decay: float
    momentum: float
    augment: str
    source: str
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _ = AUGMENTATIONS[self.augment]
        if not self.phases:
            raise RaysmoothError("a recipe has no phases: write one such as adam:epochs=90,learning_rate=1e-3")
        for name in ("batch_size", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RaysmoothError(f"{name} of a recipe is {value}: write a number above 0")
        if any(phase.optimizer == "nesterov" for phase in self.phases) and not self.momentum > 0:
            raise RaysmoothError(f"nesterov with momentum {self.momentum} is plain SGD: write --optimizer sgd")

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def phase_of(self, epoch: int) -> tuple[int, int]:
        """The number of the phase of the recipe's epoch `epoch`, and the epoch within that phase; all from 0."""
        for number, phase in enumerate(self.phases):
            if epoch < phase.epochs:
                return number, epoch
            epoch -= phase.epochs
        raise IndexError(f"the recipe ends {epoch + 1} epochs before")

    def stretched(self, epochs: int) -> Self:
        """The recipe in `epochs` epochs: phases and drops of the learning rate scale in proportion.

        Each phase keeps at least one epoch, if `epochs` allows.
        """
        factor = epochs / self.epochs
        ends: list[int] = []
        done = 0
        for number, phase in enumerate(self.phases):
            done += phase.epochs
            later = len(self.phases) - number - 1
            ends.append(max(min(round(done * factor), epochs - later), min(ends[-1] + 1 if ends else 1, epochs)))
        lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        phases = [
            replace(phase, epochs=length, step_size=None if phase.step_size is None else phase.step_size * factor)
            for phase, length in zip(self.phases, lengths, strict=True)
            if length > 0
        ]
        return replace(self, phases=tuple(phases))

    def __str__(self) -> str:
        """'90 epochs of adam 0.001 (x0.1 every 30), batches of 256, augmentation crop-flip'."""
        phases = "; ".join(map(described, self.phases))
        return f"{phases}, batches of {self.batch_size}, augmentation {self.augment}"
