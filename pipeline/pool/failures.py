"""Who is at fault when a replica dies or raises: the work unit, the replica, or something common to all replicas.

A unit counts as the cause only of deaths of replicas that held nothing else. Every unit that a dead replica held is a
suspect: it runs alone until its counts clear it or it has killed MAX_LONE_DEATHS replicas.
"""

from collections.abc import Sequence

from ray.exceptions import RayTaskError

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitResult

MAX_LONE_DEATHS = 3
"""Deaths of replicas that drew a unit alone after which the unit is given up."""

MAX_ERRORS = 2
"""Replicas on which a unit may raise an exception before it is given up."""

HOPELESS = 8
"""Failures in a row per replica after which the run stops: deaths and exceptions, without a unit finished or given up
for its deaths in between. Well above MAX_LONE_DEATHS, since one image may have units on every replica."""


class FailurePolicy:
    """Decides whether a unit that failed is retried or given up, and counts failures in a row."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._first: str | None = None

    def clear(self) -> None:
        """A unit was finished, so the failures were not hopeless."""
        self._in_a_row, self._first = 0, None

    def unit_raised(self, attempt: UnitAttempt, reason: str) -> UnitResult | None:
        """The result of a unit that is given up because it raised an exception again; None if it is to be tried alone
        on another replica. The first time the replica may be the cause: a GPU in a bad state fails for every unit.
        """
        self._count(reason)
        attempt.errors += 1
        attempt.suspect = True
        return UnitResult(attempt.request, None, reason) if attempt.errors >= MAX_ERRORS else None

    def replica_died(self, attempts: Sequence[UnitAttempt], reason: str) -> UnitResult | None:
        """A replica died that held `attempts`, which become suspects: the result of one that is given up, if any."""
        self._count(reason)
        for attempt in attempts:
            attempt.suspect = True
        if len(attempts) != 1:
            return None
        (attempt,) = attempts
        attempt.lone_deaths += 1
        if attempt.lone_deaths < MAX_LONE_DEATHS:
            return None
        self.clear()
        failure = f"the replica died {MAX_LONE_DEATHS} times drawing this alone: {reason}"
        return UnitResult(attempt.request, None, failure)

    def refuse_hopeless(self, replicas: int) -> None:
        """Raises RaysmoothError if `replicas` have failed so often in a row that nothing can work."""
        if self._in_a_row >= HOPELESS * replicas:
            raise RaysmoothError(
                f"stopped: replicas died or failed {self._in_a_row} times in a row and no work unit was "
                f"finished in between; the first: {self._first}"
            )

    def _count(self, reason: str) -> None:
        self._in_a_row += 1
        self._first = self._first or reason


def reason_of(error: RayTaskError) -> str:
    """The exception that was raised in a replica, on one line; a RaysmoothError is raised again."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, RaysmoothError):
        raise RaysmoothError(str(cause)) from error
    return f"{type(cause).__name__}: {one_line(cause)}"
