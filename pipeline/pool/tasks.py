"""What the driver asks the pool to draw, and what the pool answers."""

from dataclasses import dataclass

import numpy as np

from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit


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
    drawn: UnitCounts | None
    failure: str | None = None


@dataclass(eq=False)
class UnitAttempt:
    """A request and its failures so far: `lone_deaths` of replicas that held nothing else, `errors` that it raised,
    whether it must run alone (`suspect`), and whether its result is in (`done`). Several replicas may hold the same
    attempt if one of them is slow.
    """

    request: UnitRequest
    lone_deaths: int = 0
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
