"""Work units that wait for a replica, and how they are packed into calls."""

from collections import deque
from collections.abc import Callable, Iterable
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
    """Attempts to be repeated come first, then the driver's new requests. Suspects are left for `take_suspect`."""

    def __init__(self, durations: UnitDurations) -> None:
        self._durations = durations
        self._waiting: deque[UnitAttempt] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, attempt: UnitAttempt) -> bool:
        return attempt in self._waiting

    def add(self, attempts: Iterable[UnitAttempt]) -> None:
        self._waiting.extend(attempts)

    def add_first(self, attempt: UnitAttempt) -> None:
        self._waiting.appendleft(attempt)

    def drop_unwanted(self, wanted: Callable[[WorkUnit], bool]) -> None:
        """Drop attempts whose results are in meanwhile, or are not `wanted` any more."""
        self._waiting = deque(one for one in self._waiting if not one.done and wanted(one.unit))

    @property
    def suspects(self) -> int:
        """How many attempts must run alone."""
        return sum(attempt.suspect for attempt in self._waiting)

    def take_suspect(self) -> UnitAttempt | None:
        return self._take(suspect=True)

    def next_call(self, next_request: NextRequest) -> Call:
        """As many units as make a call of CALL_SECONDS, judging by durations so far; one if these are unknown. Empty if
        nothing is left to draw.
        """
        call: Call = []
        seconds = 0.0
        while seconds < CALL_SECONDS and len(call) < CALL_UNITS:
            attempt = self._take(suspect=False)
            if attempt is None and (request := next_request()) is not None:
                attempt = UnitAttempt(request)
            if attempt is None:
                break
            if attempt.request.only is not None:  # its blank images have the ids of real ones
                if not call:
                    return [attempt]
                self.add_first(attempt)
                break
            call.append(attempt)
            expected = self._durations.expected(attempt.unit)
            seconds += CALL_SECONDS if expected is None else expected
        return call

    def _take(self, suspect: bool) -> UnitAttempt | None:
        attempt = next((attempt for attempt in self._waiting if attempt.suspect == suspect), None)
        if attempt is not None:
            self._waiting.remove(attempt)
        return attempt
