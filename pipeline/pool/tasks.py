"""What the driver asks the pool to draw, and what the pool answers."""

from dataclasses import dataclass, field

import numpy as np

from raysmooth.actors.replica.work_unit import UnitCounts, UnitSigmas, WorkUnit


@dataclass(frozen=True, eq=False)
class UnitRequest:
    """A unit to be drawn, with the images that it needs by their ids, each float32 (C, H, W) in pixel units. If the
    unit is repeated for `only` one of its images, the others are blank.
    """

    unit: WorkUnit
    images: dict[int, np.ndarray]
    only: int | None = None


@dataclass(frozen=True, eq=False)
class UnitResult:
    """The answer to a request: its unit's counts, or the reason why there are none."""

    request: UnitRequest
    drawn: UnitCounts | UnitSigmas | None
    failure: str | None = None


@dataclass(eq=False)
class Death:
    """A replica's death of unknown cause; `explained` once a unit that it drew is given up."""

    explained: bool = False


@dataclass(eq=False)
class UnitAttempt:
    """A request and its failures so far. Several replicas may hold the same attempt if one of them is slow.

    `suspect`: a replica died drawing it, or it raised an exception; from then on no plain unit shares its calls.
    `deaths`: those of unknown cause in which it was being drawn. `lone_deaths`: how many of these replicas held nothing
    else; `lone_seconds`: how long they drew it. `outside_deaths`: deaths of other causes. `errors`: exceptions that it
    raised. `done`: its result is in.
    """

    request: UnitRequest
    deaths: list[Death] = field(default_factory=list)
    lone_deaths: int = 0
    lone_seconds: float = 0.0
    outside_deaths: int = 0
    errors: int = 0
    suspect: bool = False
    done: bool = False

    @property
    def unit(self) -> WorkUnit:
        return self.request.unit

    def finish(self, result: UnitResult) -> UnitResult:
        """`result`, which is the first one; later ones are ignored."""
        self.done = True
        return result
