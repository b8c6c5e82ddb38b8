"""Hands out work units to replicas, takes their answers, and repeats units when replicas die, raise or stall."""

from collections.abc import Callable
from time import monotonic

import ray
from ray.exceptions import RayError, RayTaskError

from raysmooth.actors.replica.work_unit import Drawn
from raysmooth.common.errors import one_line
from raysmooth.pipeline.pool.backlog import Backlog, Call, NextRequest
from raysmooth.pipeline.pool.death_causes import DeathCause, cause_of_death
from raysmooth.pipeline.pool.failures import FailurePolicy, reason_of
from raysmooth.pipeline.pool.fair_share import FairShare
from raysmooth.pipeline.pool.image_transfer import ImageTransfer
from raysmooth.pipeline.pool.replica_group import ReplicaGroup
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.stragglers import GIVE_UP, PATIENCE, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry
from raysmooth.pipeline.ray_cluster.ray_watch import head_listens

WINDOW = 3
"""Calls in flight for each replica: one is drawn while two wait, so that the replica never waits for the driver."""


class Dispatcher:
    """Moves units from the backlog to the replicas of `group` and back. `note` and `telemetry` are the pool's.

    Methods that may finish units return the results. After yielding these, the pool calls `refuse_hopeless`.
    """

    def __init__(self, group: ReplicaGroup, note: Callable[[str], None], telemetry: Telemetry) -> None:
        self._group, self._note, self._telemetry = group, note, telemetry
        self._durations, self._images = UnitDurations(), ImageTransfer()
        self._failures, self._share = FailurePolicy(), FairShare()
        self.backlog = Backlog(self._durations)

    @property
    def is_idle(self) -> bool:
        """Whether no unit waits, and none is in flight whose result is not in."""
        return not self.backlog and all(attempt.done for replica in self._group for attempt in replica.attempts)

    @property
    def in_flight(self) -> int:
        """Number of units that replicas hold."""
        return sum(len(call) for replica in self._group for call in replica.in_flight.values())

    def hand_out(self, next_request: NextRequest) -> bool:
        """Submit calls until every replica has WINDOW of them; whether there was too little work for that."""
        free = [replica for replica in self._group if replica.has_free_slot]
        free = [replica for replica in free if not replica.draining] or free
        free.sort(key=lambda replica: len(replica.in_flight))  # a stable order: the emptiest are empty soonest
        # Suspects need a replica with nothing in flight: those reserved for them get no other calls until then.
        reserved = free[: self._reserved()]
        self._hand_out_suspects(reserved)
        exhausted = self._fill(free[len(reserved) :], next_request)
        if exhausted:
            self._hand_out_suspects(free)
        return exhausted

    def _reserved(self) -> int:
        """How many replicas are to draw suspects next."""
        if not self.backlog.suspects:
            return 0
        ready = [replica for replica in self._group if replica.ready]
        isolated = sum(replica.isolated and bool(replica.in_flight) for replica in ready)
        return min(self.backlog.suspects, self._share.allowed(len(ready), isolated))

    def _hand_out_suspects(self, replicas: list[ReplicaHandle]) -> None:
        for replica in replicas:
            if not replica.in_flight and (group := self.backlog.take_suspects()):
                self._submit(replica, group, isolated=True)

    def _fill(self, replicas: list[ReplicaHandle], next_request: NextRequest) -> bool:
        # If there is little work, some of it is left for replicas that are still loading.
        window = WINDOW if self._group.are_ready() else WINDOW - 1
        # One call per replica at a time, so that the last units of a run are shared among all replicas.
        for depth in range(window):
            for replica in replicas:
                if len(replica.in_flight) <= depth:
                    call = self.backlog.next_call(next_request)
                    if not call:
                        return True
                    self._submit(replica, call)
        return False

    def receive(self, replica: ReplicaHandle, reference: ray.ObjectRef) -> list[UnitResult]:
        """Take the answer that `reference` stands for: identity, preparation, or counts."""
        if reference == replica.asked:
            try:
                self._group.receive(replica)
            except RayError as error:
                return self.on_replica_death(replica, error)
            return []
        if reference not in replica.in_flight:
            return []
        try:
            drawn: Drawn = ray.get(reference)
        except RayTaskError as error:
            self._count_seconds(replica)
            return self._on_unit_error(replica, replica.answered(reference), reason_of(error))
        except RayError as error:  # it died, was killed for its memory, or its node or its answer was lost
            return self.on_replica_death(replica, error)
        self._count_seconds(replica)
        call = replica.answered(reference)
        results = []
        for attempt, counts in zip(call, drawn.counts, strict=False):
            self._failures.clear()
            self._durations.record(attempt.unit, counts.seconds)
            if attempt.done:
                self._telemetry.drawn_twice += 1
            else:
                results.append(attempt.finish(UnitResult(attempt.request, counts)))
        if drawn.failed is not None:
            results += self._on_unit_error(replica, call[len(drawn.counts) :], drawn.failed)
        return results

    def check_straggler(self, replica: ReplicaHandle) -> list[UnitResult]:
        """If `replica` does not answer, its units are drawn elsewhere too; after much longer it counts as dead."""
        if not replica.in_flight:
            return []
        waited = monotonic() - replica.since
        limit = self._durations.limit(attempt.unit for attempt in next(iter(replica.in_flight.values())))
        if waited > min(GIVE_UP * limit, limit + PATIENCE):
            return self.on_replica_death(replica, TimeoutError(f"no answer for {waited:.0f} s"))
        if waited > limit and not replica.slow:
            replica.slow = True
            held = [attempt for attempt in replica.attempts if not attempt.done]
            self._note(
                f"replica on {replica.node} has not answered for {waited:.0f} s: "
                f"its {_work_units(len(held))} will be drawn elsewhere too"
            )
            self._telemetry.drawn_again(len(held))
            self.backlog.add(held)
        return []

    def on_replica_death(self, replica: ReplicaHandle, error: Exception) -> list[UnitResult]:
        """Replace a dead replica and put its units back, or give up the unit that has killed too many replicas. `error`
        is what its call raised.
        """
        self._count_seconds(replica)
        seconds, calls = replica.busy_seconds, list(replica.in_flight.values())
        elsewhere = {id(attempt) for other in self._group if other is not replica for attempt in other.attempts}
        held = [[attempt for attempt in call if id(attempt) not in elsewhere] for call in replica.take_back()]
        self.backlog.remove(attempt for call in held for attempt in call)  # where it was slow
        # Calls are drawn one after the other: only the oldest can have done it.
        drawn, behind = (held[0], [attempt for call in held[1:] for attempt in call]) if held else ([], [])
        cause = cause_of_death(replica.handle, error, replica.ready)
        self._note_death(replica, cause, len(drawn) + len(behind))
        if replica.isolated and calls:
            self._share.died_of_suspects(replica.start_seconds)
        self._group.replace(replica)
        self.backlog.add(behind)
        reason = one_line(error)
        if not self._failures.blames_units(drawn, cause, reason):
            self.backlog.add(drawn)
            return []
        groups = self._failures.suspect(drawn)
        if len(calls) == len(calls[0]) == 1:
            (attempt,) = drawn
            given_up = self._failures.died_alone(attempt, seconds, reason)
            if given_up is not None:
                return [attempt.finish(given_up)]
        self.backlog.add_suspects(groups)
        return []

    def refuse_hopeless(self) -> None:
        """Raises RaysmoothError if too many failures in a row show that nothing can work."""
        self._failures.refuse_hopeless(self._group.size)

    def _submit(self, replica: ReplicaHandle, call: Call, isolated: bool = False) -> None:
        images = {(one.unit.run, image_id): image for one in call for image_id, image in one.request.images.items()}
        only = call[0].request.only
        packed = [self._images.packed(k, image) if only in (None, k[1]) else image for k, image in images.items()]
        reference = replica.handle.draw.remote([attempt.unit for attempt in call], list(images), *packed)
        replica.submitted(call, reference, isolated)

    def _count_seconds(self, replica: ReplicaHandle) -> None:
        """Before its oldest call is taken away: `replica` has been busy with it until now."""
        self._failures.drew(replica.busy_seconds)
        self._share.drew(replica.busy_seconds, replica.isolated)

    def _note_death(self, replica: ReplicaHandle, cause: DeathCause, units: int) -> None:
        where = f"replica on {replica.node} died" if replica.identity else "a replica died while starting"
        why = ", by a cause from outside" * (cause is DeathCause.OUTSIDE)
        if head_listens():  # else the whole cluster may have ended: that is said once, by `watching_ray`
            self._note(f"{where}{why}" + f"; its {_work_units(units)} will be retried" * bool(units))
        self._telemetry.died()
        self._telemetry.drawn_again(units)

    def _on_unit_error(self, replica: ReplicaHandle, call: Call, reason: str) -> list[UnitResult]:
        """The first unit of `call` raised an exception: it is tried again alone on another replica, or given up. The
        replica is replaced, and its other units are put back.
        """
        attempt, *behind = call
        results = []
        if not attempt.done:
            given_up = self._failures.unit_raised(attempt, reason)
            if given_up is not None:
                results.append(attempt.finish(given_up))
            else:
                self._note(f"a work unit failed ({reason}): tried again alone, on another replica")
                self.backlog.add_suspects([[attempt]])
        self.backlog.add(behind)
        for others in replica.take_back():
            self.backlog.add(others)
        self._group.replace(replica)
        return results


def _work_units(number: int) -> str:
    return f"{number} work unit{'s' * (number != 1)}"
