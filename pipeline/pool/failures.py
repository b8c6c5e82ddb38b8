"""Who is at fault when a replica dies or raises: a work unit, the replica, or something common to all replicas.

A replica draws its calls one after the other, so only the units of its oldest call can have caused its death. They are
suspects: drawn in PARTS groups, each by a replica that holds nothing else. A group that comes back is cleared; one that
kills again is divided again. A death costs seconds, a call milliseconds: in quarters, a culprit among 160 units is
drawn alone after 4 deaths; in halves, it would be after 8. A unit is given up only for deaths of replicas that drew it
alone, and only if chance cannot explain them: where replicas die for other reasons, it takes more of them.
"""

from collections.abc import Sequence
from time import monotonic

from ray.exceptions import RayTaskError
from scipy.special import bdtrc

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.backlog import Call
from raysmooth.pipeline.pool.death_causes import DeathCause
from raysmooth.pipeline.pool.tasks import Death, UnitAttempt, UnitResult

PARTS = 4
"""Into how many groups the suspects of a death are divided."""

MAX_LONE_DEATHS, MOST_LONE_DEATHS = 3, 6
"""Deaths of replicas that drew a unit alone after which it is given up: if they cannot be chance, and in any case if no
replica has died but those that drew it; each death elsewhere allows it one more."""

CHANCE = 1e-5
"""The probability up to which deaths of replicas that drew a unit alone are not taken for chance."""

CONTROL_SECONDS = 120.0
"""What is taken for granted before a run has shown it: replicas draw for so long without dying for other reasons."""

MAX_OUTSIDE_DEATHS = 5
"""Deaths from outside in which a unit may be involved before they count as unknown. One that fills the memory, or takes
the node with it, would never end otherwise."""

MAX_ERRORS = 2
"""Replicas on which a unit may raise an exception before it is given up."""

HOPELESS = 8
"""Failures in a row per replica after which the run stops: exceptions and deaths not from outside, without a unit
finished or given up for its deaths in between. Well above MOST_LONE_DEATHS, since one image may have units on every
replica."""

FIRST_STANDSTILL, STANDSTILL = 60.0, 300.0
"""Seconds from the first of the deaths in a row before they are hopeless: in a session that has finished no unit, and
in one that has shown that units can be drawn. Where replicas are killed from outside, many starts fail by chance."""


class FailurePolicy:
    """Decides whether a unit that failed is retried or given up, and counts failures in a row."""

    def __init__(self) -> None:
        self._in_a_row = self._raised_in_a_row = 0
        self._first: str | None = None
        self._row_began, self._patience = monotonic(), FIRST_STANDSTILL
        self._drawing_seconds = CONTROL_SECONDS
        self._unexplained = 0

    def drew(self, seconds: float) -> None:
        """A replica was busy for so long with a call, whether it finished it or died."""
        self._drawing_seconds += seconds

    def clear(self) -> None:
        """A unit was finished, so the failures were not hopeless."""
        self._patience = STANDSTILL
        self._forget()

    def unit_raised(self, attempt: UnitAttempt, reason: str) -> UnitResult | None:
        """The result of a unit that is given up because it raised an exception again; None if it is to be tried alone
        on another replica. The first time the replica may be the cause: a GPU in a bad state fails for every unit.
        """
        self._count(reason, raised=True)
        attempt.errors += 1
        attempt.suspect = True
        return UnitResult(attempt.request, None, reason) if attempt.errors >= MAX_ERRORS else None

    def blames_units(self, drawn: Sequence[UnitAttempt], cause: DeathCause, reason: str) -> bool:
        """Count the death of a replica while it drew `drawn`: whether these are suspects now."""
        if cause is DeathCause.OUTSIDE:
            for attempt in drawn:
                attempt.outside_deaths += 1
            if all(attempt.outside_deaths <= MAX_OUTSIDE_DEATHS for attempt in drawn):
                return False
        self._count(reason, raised=cause is DeathCause.RAISED)
        return bool(drawn)

    def suspect(self, drawn: Sequence[UnitAttempt]) -> list[Call]:
        """Make suspects of what a replica drew when it died: the groups in which they are to be drawn."""
        death = Death()
        self._unexplained += 1
        for attempt in drawn:
            attempt.suspect = True
            attempt.deaths.append(death)
        size = -(-len(drawn) // PARTS)
        return [list(drawn[start : start + size]) for start in range(0, len(drawn), size)]

    def died_alone(self, attempt: UnitAttempt, seconds: float, reason: str) -> UnitResult | None:
        """A replica died after drawing the suspect `attempt` alone for some `seconds`: its result if it is given up."""
        attempt.lone_deaths += 1
        attempt.lone_seconds += seconds
        others = self._unexplained - sum(not death.explained for death in attempt.deaths)
        if attempt.lone_deaths < MAX_LONE_DEATHS:
            return None
        if attempt.lone_deaths < MOST_LONE_DEATHS + others and self._by_chance(attempt, others) > CHANCE:
            return None
        for death in attempt.deaths:
            self._unexplained -= not death.explained
            death.explained = True
        self._forget()
        failure = f"the replica died {attempt.lone_deaths} times drawing this alone: {reason}"
        return UnitResult(attempt.request, None, failure)

    def refuse_hopeless(self, replicas: int) -> None:
        """Raises RaysmoothError if `replicas` have failed so often in a row that nothing can work."""
        limit = HOPELESS * replicas
        stands_still = monotonic() - self._row_began > self._patience
        if self._raised_in_a_row >= limit or (self._in_a_row >= limit and stands_still):
            raise RaysmoothError(
                f"stopped: replicas died or failed {self._in_a_row} times in a row and no work unit was "
                f"finished in between; the first: {self._first}"
            )

    def _by_chance(self, attempt: UnitAttempt, others: int) -> float:
        """The probability that at least `attempt.lone_deaths` of the unexplained deaths fell, by chance, in the time in
        which `attempt` was drawn alone. The unexplained deaths are its own and the `others`, and each falls anywhere in
        the time of drawing.
        """
        share = min(1.0, attempt.lone_seconds / self._drawing_seconds)
        return float(bdtrc(attempt.lone_deaths - 1, others + attempt.lone_deaths, share))

    def _count(self, reason: str, raised: bool) -> None:
        if not self._in_a_row:
            self._row_began = monotonic()
        self._in_a_row += 1
        self._raised_in_a_row += raised
        self._first = self._first or reason

    def _forget(self) -> None:
        self._in_a_row = self._raised_in_a_row = 0
        self._first = None


def reason_of(error: RayTaskError) -> str:
    """The exception that was raised in a replica, on one line; a RaysmoothError is raised again."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, RaysmoothError):
        raise RaysmoothError(str(cause)) from error
    return f"{type(cause).__name__}: {one_line(cause)}"
