"""Whose fault it is where a replica dies or raises: the work unit's, the replica's, or that of all there is.

A unit is blamed only for deaths of replicas that held nothing else. Whoever was in a dead replica's hand is a suspect,
and runs alone until it is cleared by its counts or has killed BLAME times.
"""

import re
from collections.abc import Sequence

from ray.exceptions import RayTaskError

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitResult

BLAME = 3
"""Deaths with nothing else in hand after which a unit is given up."""

ATTEMPTS = 2
"""Replicas on which a unit may raise an exception before it is given up."""

HOPELESS = 8
"""Deaths and exceptions in a row for each replica, without a unit finished in between or blamed for its deaths, after
which the run stops. Well above BLAME: one image may have units in every replica's hand."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class FailurePolicy:
    """Remembers failures in a row, and the first of them."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._first: str | None = None

    def clear(self) -> None:
        """A unit was finished: something works."""
        self._in_a_row, self._first = 0, None

    def raised(self, errand: UnitAttempt, reason: str) -> UnitResult | None:
        """A unit raised an exception: is it the unit or the replica (a GPU in a bad state fails whatever comes next)?
        Both are taken at their word once: the outcome of a unit that is given up, None where it is to be tried again,
        alone, on another replica.
        """
        self._count(reason)
        errand.raised += 1
        errand.suspect = True
        return UnitResult(errand.order, None, reason) if errand.raised >= ATTEMPTS else None

    def died(self, errands: Sequence[UnitAttempt], reason: str) -> list[UnitResult]:
        """A replica died with `errands` in its hand: the outcome of one that is given up. The others are suspects."""
        self._count(reason)
        for errand in errands:
            errand.suspect = True
        if len(errands) != 1:
            return []
        (errand,) = errands
        errand.blamed += 1
        if errand.blamed < BLAME:
            return []
        self.clear()
        return [UnitResult(errand.order, None, f"the replica died {BLAME} times drawing this alone: {reason}")]

    def refuse_hopeless(self, replicas: int) -> None:
        """Raises RaysmoothError where `replicas` have failed so often that nothing can work."""
        if self._in_a_row >= HOPELESS * replicas:
            raise RaysmoothError(
                f"stopped: replicas died or failed {self._in_a_row} times in a row and no work unit was "
                f"finished in between; the first: {self._first}"
            )

    def _count(self, reason: str) -> None:
        self._in_a_row += 1
        self._first = self._first or reason


def reason_of(error: RayTaskError) -> str:
    """What was raised in a replica, in one line; a RaysmoothError is raised again."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, RaysmoothError):
        raise RaysmoothError(str(cause)) from error
    return f"{type(cause).__name__}: {one_line(cause)}"
