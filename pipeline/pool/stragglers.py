"""How long work units take, and when a replica that does not answer is too slow to wait for."""

from collections import deque
from collections.abc import Iterable
from statistics import median

from raysmooth.actors.replica.work_unit import WorkUnit

CALL_SECONDS = 0.15
"""About how long a call should take: it carries as many units as that needs. One Ray driver hands out some thousand
calls a second, whatever the number of replicas."""

SLOW, SLOW_SECONDS = 5.0, 10.0
"""A call that takes so many times as long as others of its size, and longer than this, is drawn elsewhere too."""

GIVE_UP = 6
"""After so many times that time the replica is taken for dead."""

PATIENCE = 600.0
"""Seconds for a call of a kind that no replica has answered yet, and for a replica where there is none: an autoscaler
may need minutes for a node."""

_REMEMBERED = 101


class UnitDurations:
    """What units have taken so far on all replicas, run by run."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[float]] = {}
        self._typical: dict[int, float] = {}

    def learn(self, unit: WorkUnit, seconds: float) -> None:
        self._seen.setdefault(unit.run, deque(maxlen=_REMEMBERED)).append(seconds / unit.draws)
        self._typical.pop(unit.run, None)

    def expected(self, unit: WorkUnit) -> float | None:
        """Seconds of computing, by the median; None where nobody has drawn such a unit yet."""
        if unit.run not in self._seen:
            return None
        if unit.run not in self._typical:
            self._typical[unit.run] = median(self._seen[unit.run])
        return self._typical[unit.run] * unit.draws

    def limit(self, units: Iterable[WorkUnit]) -> float:
        """Seconds after which a call of `units` is drawn elsewhere too."""
        expected = [self.expected(unit) for unit in units]
        known = [seconds for seconds in expected if seconds is not None]
        return max(SLOW_SECONDS, SLOW * sum(known)) if len(known) == len(expected) else PATIENCE
