"""Work units that wait for a replica, and how they are packed into calls."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.pipeline.pool.stragglers import CALL_SECONDS, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest

CALL_UNITS = 64
"""Maximum number of units in a call."""

Call: TypeAlias = list[UnitAttempt]
"""Work units that travel to a replica together."""

NextRequest: TypeAlias = Callable[[], UnitRequest | None]
"""The driver's next request; None if there is nothing to draw now."""


class Backlog:
    """Attempts to be repeated come first, then the driver's new requests. Suspects wait in groups, each of which is a
    call of its own, and are left for `take_suspects`.
    """

    def __init__(self, durations: UnitDurations) -> None:
        self._durations = durations
        self._waiting: deque[UnitAttempt] = deque()
        self._suspects: deque[Call] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._suspects))

    def add(self, attempts: Iterable[UnitAttempt]) -> None:
        """Attempts that were held by one replica: the suspects among them remain one group."""
        group: Call = []
        for attempt in attempts:
            (group if attempt.suspect else self._waiting).append(attempt)
        if group:
            self._suspects.append(group)

    def add_suspects(self, groups: Sequence[Call]) -> None:
        """Groups of suspects, before all others: the smallest are the strongest, to be found out or cleared soon."""
        self._suspects.extendleft(reversed(groups))

    def remove(self, attempts: Iterable[UnitAttempt]) -> None:
        """Take `attempts` out, if they wait."""
        removed = {id(attempt) for attempt in attempts}
        self._keep(lambda attempt: id(attempt) not in removed)

    def drop_unwanted(self, wanted: Callable[[WorkUnit], bool]) -> None:
        """Drop attempts whose results are in meanwhile, or are not `wanted` any more."""
        self._keep(lambda attempt: not attempt.done and wanted(attempt.unit))

    def _keep(self, kept: Callable[[UnitAttempt], bool]) -> None:
        self._waiting = deque(filter(kept, self._waiting))
        groups = ([attempt for attempt in group if kept(attempt)] for group in self._suspects)
        self._suspects = deque(group for group in groups if group)

    @property
    def suspects(self) -> int:
        """How many groups of suspects wait."""
        return len(self._suspects)

    def take_suspects(self) -> Call:
        """The next group of suspects; empty if there is none."""
        return self._suspects.popleft() if self._suspects else []

    def next_call(self, next_request: NextRequest) -> Call:
        """As many units as make a call of CALL_SECONDS, judging by durations so far; one if these are unknown. Empty if
        nothing is left to draw but suspects.
        """
        call: Call = []
        seconds = 0.0
        while seconds < CALL_SECONDS and len(call) < CALL_UNITS:
            attempt = self._waiting.popleft() if self._waiting else None
            if attempt is None and (request := next_request()) is not None:
                attempt = UnitAttempt(request)
            if attempt is None:
                break
            if attempt.request.only is not None:  # its blank images have the ids of real ones
                if not call:
                    return [attempt]
                self._waiting.appendleft(attempt)
                break
            call.append(attempt)
            expected = self._durations.expected(attempt.unit)
            seconds += CALL_SECONDS if expected is None else expected
        return call
