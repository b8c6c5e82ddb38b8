"""Orders: what the driver asks the pool to draw, and what becomes of it."""

from dataclasses import dataclass

import numpy as np

from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit


@dataclass(frozen=True, eq=False)
class UnitRequest:
    """A unit to be drawn, with the images that it needs by their ids, each float32 (C, H, W) in pixel units. Where it
    is drawn for the sake of `only` one of them, the others are blank.
    """

    unit: WorkUnit
    images: dict[int, np.ndarray]
    only: int | None = None


@dataclass(frozen=True, eq=False)
class UnitResult:
    """What became of an order: its unit's counts, or the reason why there are none."""

    order: UnitRequest
    drawn: UnitCounts | None
    failure: str | None = None


@dataclass(eq=False)
class UnitAttempt:
    """An order on its way: after how many deaths it was blamed, how often it raised, whether it must run alone, and
    whether its outcome is in. It may be in several hands, where one is too slow to wait for.
    """

    order: UnitRequest
    blamed: int = 0
    raised: int = 0
    suspect: bool = False
    done: bool = False

    @property
    def unit(self) -> WorkUnit:
        return self.order.unit
