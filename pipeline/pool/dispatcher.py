"""Hands out work units to replicas, takes their answers, and repeats units when replicas die, raise or stall."""

from collections.abc import Callable
from time import monotonic

import ray
from ray.exceptions import RayError, RayTaskError

from raysmooth.actors.replica.work_unit import Drawn
from raysmooth.common.errors import one_line
from raysmooth.pipeline.pool.backlog import Backlog, Call, NextRequest
from raysmooth.pipeline.pool.failures import FailurePolicy, reason_of
from raysmooth.pipeline.pool.image_transfer import ImageTransfer
from raysmooth.pipeline.pool.replica_group import ReplicaGroup
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.stragglers import GIVE_UP, PATIENCE, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry

WINDOW = 3
"""Calls in flight for each replica: one is drawn while two wait, so that the replica never waits for the driver."""


class Dispatcher:
    """Moves units from the backlog to the replicas of `group` and back. `note` and `telemetry` are the pool's.

    Methods that may finish units return the results. After yielding these, the pool calls `refuse_hopeless`.
    """

    def __init__(self, group: ReplicaGroup, note: Callable[[str], None], telemetry: Telemetry) -> None:
        self._group, self._note, self._telemetry = group, note, telemetry
        self._durations, self._failures, self._images = UnitDurations(), FailurePolicy(), ImageTransfer()
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
        # Each suspect needs a replica with nothing in flight: that many replicas get no other calls until then.
        reserved, filled = free[: self.backlog.suspects], free[self.backlog.suspects :]
        for replica in reserved:
            if not replica.in_flight and (suspect := self.backlog.take_suspect()) is not None:
                self._submit(replica, [suspect])
        # If there is little work, some of it is left for replicas that are still loading.
        window = WINDOW if self._group.are_ready() else WINDOW - 1
        # One call per replica at a time, so that the last units of a run are shared among all replicas.
        for depth in range(window):
            for replica in filled:
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
                return self.on_replica_death(replica, one_line(error))
            return []
        if reference not in replica.in_flight:
            return []
        try:
            drawn: Drawn = ray.get(reference)
        except RayTaskError as error:
            return self._on_unit_error(replica, replica.answered(reference), reason_of(error))
        except RayError as error:  # it died, was killed for its memory, or its node or its answer was lost
            return self.on_replica_death(replica, one_line(error))
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
            return self.on_replica_death(replica, f"no answer for {waited:.0f} s")
        if waited > limit and not replica.slow:
            replica.slow = True
            held = [attempt for attempt in replica.attempts if not attempt.done]
            self._note(
                f"replica on {replica.node} has not answered for {waited:.0f} s: "
                f"its {_work_units(held)} will be drawn elsewhere too"
            )
            self._telemetry.drawn_again(len(held))
            self.backlog.add(held)
        return []

    def on_replica_death(self, replica: ReplicaHandle, reason: str) -> list[UnitResult]:
        """Replace a dead replica and put its units back, or give up the unit that has killed too many replicas."""
        elsewhere = {id(attempt) for other in self._group if other is not replica for attempt in other.attempts}
        lost = [one for one in replica.take_unfinished() if id(one) not in elsewhere and one not in self.backlog]
        where = f"replica on {replica.node} died" if replica.identity else "a replica died while starting"
        self._note(f"{where}; its {_work_units(lost)} will be retried" if lost else where)
        self._telemetry.died()
        self._telemetry.drawn_again(len(lost))
        self._group.replace(replica)
        given_up = self._failures.replica_died(lost, reason)
        if given_up is not None:
            (attempt,) = lost
            return [attempt.finish(given_up)]
        if len(lost) == 1:
            self.backlog.add_first(lost[0])  # the strongest suspect, to be found out or cleared soon
        else:
            self.backlog.add(lost)
        return []

    def refuse_hopeless(self) -> None:
        """Raises RaysmoothError if too many failures in a row show that nothing can work."""
        self._failures.refuse_hopeless(self._group.size)

    def _submit(self, replica: ReplicaHandle, call: Call) -> None:
        images = {(one.unit.run, image_id): image for one in call for image_id, image in one.request.images.items()}
        only = call[0].request.only
        packed = [self._images.packed(k, image) if only in (None, k[1]) else image for k, image in images.items()]
        reference = replica.handle.draw.remote([attempt.unit for attempt in call], list(images), *packed)
        replica.submitted(call, reference)

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
                self.backlog.add([attempt])
        self.backlog.add([*behind, *replica.take_unfinished()])
        self._group.replace(replica)
        return results


def _work_units(attempts: list[UnitAttempt]) -> str:
    return f"{len(attempts)} work unit{'s' * (len(attempts) != 1)}"
