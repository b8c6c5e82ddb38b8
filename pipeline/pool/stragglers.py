"""How long work units take, and when a replica that does not answer is too slow to wait for."""

from collections import deque
from collections.abc import Iterable
from statistics import median

from raysmooth.actors.replica.work_unit import WorkUnit

CALL_SECONDS = 0.15
"""Intended duration of a call, which sets its number of units. One Ray driver submits about a thousand calls a second,
however many replicas there are."""

SLOW, SLOW_SECONDS = 5.0, 10.0
"""A call that takes SLOW times the expected duration, and more than SLOW_SECONDS, is drawn elsewhere too."""

GIVE_UP = 6
"""Multiples of that limit after which the replica is taken for dead."""

PATIENCE = 600.0
"""Seconds allowed for the first call of a run, and for the first replica to start: an autoscaler may need minutes for a
node."""

PATIENT_DRAWS = 10_000
"""A first call of more draws than these is allowed more time, in proportion: a unit of a search is many forward passes.
"""

_REMEMBERED = 101


class UnitDurations:
    """Durations of recent units on all replicas, run by run."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[float]] = {}
        self._typical: dict[int, float] = {}

    def record(self, unit: WorkUnit, seconds: float) -> None:
        self._seen.setdefault(unit.run, deque(maxlen=_REMEMBERED)).append(seconds / unit.draws)
        self._typical.pop(unit.run, None)

    def expected(self, unit: WorkUnit) -> float | None:
        """Seconds of computing, by the median of its run; None before the run's first unit is done."""
        if unit.run not in self._seen:
            return None
        if unit.run not in self._typical:
            self._typical[unit.run] = median(self._seen[unit.run])
        return self._typical[unit.run] * unit.draws

    def limit(self, units: Iterable[WorkUnit]) -> float:
        """Seconds after which a call of `units` is drawn elsewhere too."""
        units = list(units)
        known = [seconds for unit in units if (seconds := self.expected(unit)) is not None]
        if len(known) < len(units):
            return PATIENCE * max(1.0, sum(unit.draws for unit in units) / PATIENT_DRAWS)
        return max(SLOW_SECONDS, SLOW * sum(known))
