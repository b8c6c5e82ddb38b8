"""The pool of replicas: keeps a bounded window of work units in flight for each, survives their deaths, and grows and
shrinks with the cluster.

A unit is done when its counts came back once. If a replica dies, its units are drawn again elsewhere. The draws are the
same, since their random streams belong to the unit. The units of a replica that does not answer are drawn elsewhere
too; the first answer counts, as all answers are equal.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from raysmooth.actors.replica.replica import Replica
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.backlog import NextRequest
from raysmooth.pipeline.pool.dispatcher import Dispatcher
from raysmooth.pipeline.pool.draws_units import DrawsUnits
from raysmooth.pipeline.pool.failures import reason_of
from raysmooth.pipeline.pool.replica_group import ReplicaGroup
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry
from raysmooth.pipeline.ray_cluster.ray_session import IdleReplicas

CHECK_SECONDS = 1.0
"""How often the pool looks for stragglers, and for nodes that come and go."""


class Pool:
    """`size` replicas, each with `resources`, replaced when they die; up to `most` if nodes join that hold them and
    there is work for them. A context: leaving it ends them.

    `note` is called with one-line messages for the user. `replica` is the actor class. `idle` has replicas of earlier
    calls, and keeps these for later ones.
    """

    def __init__(
        self,
        size: int,
        resources: ReplicaResources,
        note: Callable[[str], None],
        replica: type[DrawsUnits] = Replica,
        most: int | None = None,
        idle: IdleReplicas | None = None,
    ) -> None:
        self.telemetry = Telemetry()
        self._group = ReplicaGroup(size, max(size, most or 0), resources, note, replica, idle)
        self._dispatcher = Dispatcher(self._group, note, self.telemetry)
        self._checked = monotonic()

    def wait_up(self, waits: Callable[[], None] = lambda: None) -> ReplicaIdentity:
        """The identity of the first replica that is up; the others must be of its kind. `waits` is called once if none
        answers within about a second, as idle ones do.
        """
        waiting = False
        while self._group.identity is None:
            self._wait_for_answers()
            if self._group.identity is None and not waiting:
                waits()
                waiting = True
        return self._group.identity

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of one replica to a call of its method `question`; of another replica if that one dies."""
        while True:
            replica = next((replica for replica in self._group if replica.identity is not None), None)
            if replica is None:
                self._wait_for_answers()
                continue
            try:
                return ray.get(getattr(replica.handle, question).remote(*arguments))
            except RayTaskError as error:
                raise RaysmoothError(reason_of(error)) from error
            except RayError as error:
                _none(self._dispatcher.on_replica_death(replica, error))
                self._dispatcher.refuse_hopeless()

    def ask_all(self, question: str, *arguments: Any) -> list[Any]:
        """The answers of all prepared replicas, asked at the same time."""
        ready = [replica for replica in self._group if replica.ready]
        try:
            return ray.get([getattr(replica.handle, question).remote(*arguments) for replica in ready])
        except RayTaskError as error:
            raise RaysmoothError(reason_of(error)) from error
        except RayError as error:
            raise RaysmoothError(f"a replica died ({one_line(error)}): try again") from error

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> None:
        """Have all replicas, future ones too, load and compile what the runs need for images (C, H, W) of these shapes.
        To be called before `draw`.
        """
        self._group.prepare(samplings, image_shapes)

    def wait_prepared(self, patience: float = 0.0) -> None:
        """Wait until one replica can draw, and for `patience` more seconds until all that fit the cluster can."""
        until = None
        while not self._group.are_ready():
            if any(replica.ready for replica in self._group):
                until = until or monotonic() + patience
                if monotonic() >= until:
                    return
            self._wait_for_answers()

    def draw(
        self,
        next_request: NextRequest,
        wanted: Callable[[WorkUnit], bool],
        units_left: Callable[[], int] | None = None,
    ) -> Iterator[UnitResult]:
        """Draw the units of `next_request` and yield their results in the order in which they come. `next_request` is
        called whenever a replica has a free slot; None means no unit is available now, and the end once all results are
        in. A unit that has to be drawn again is dropped if it is not `wanted` any more. The pool has no more replicas
        than about `units_left`.

        Raises RaysmoothError if it is pointless to continue: a replica refuses its weights, the GPU's memory is too
        small, or all replicas die.
        """
        self._group.begin(units_left)
        while True:
            self._dispatcher.backlog.drop_unwanted(wanted)
            exhausted = self._dispatcher.hand_out(next_request)
            if self._dispatcher.is_idle:
                # All replicas may be starting again while there are still units to draw.
                request = None if exhausted else next_request()
                if request is None:
                    return
                self._dispatcher.backlog.add([UnitAttempt(request)])
            pending = {reference: replica for replica in self._group for reference in replica.references}
            self._publish()
            ready = _answered(pending)
            self._group.check_startup()
            yield from self._check_cluster()
            if ready and len(pending) > 1:  # and all others that are answered by now
                ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=0)
            for reference in ready:
                if not pending[reference].stopped:
                    yield from self._dispatcher.receive(pending[reference], reference)
                    self._dispatcher.refuse_hopeless()

    def close(self) -> None:
        self._group.close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _publish(self) -> None:
        self.telemetry.up(sum(replica.ready for replica in self._group))
        self.telemetry.queue(len(self._dispatcher.backlog), self._dispatcher.in_flight)

    def _wait_for_answers(self) -> None:
        """Wait up to a second for replicas to start or to be prepared; nothing is being drawn yet."""
        asked = {replica.asked: replica for replica in self._group if replica.asked is not None}
        for reference in _answered(asked):
            _none(self._dispatcher.receive(asked[reference], reference))
            self._dispatcher.refuse_hopeless()
        self._group.check_startup()
        _none(self._check_cluster())

    def _check_cluster(self) -> list[UnitResult]:
        """Once a second: look for stragglers, whose units may be given up, and for nodes that come and go."""
        if monotonic() - self._checked < CHECK_SECONDS:
            return []
        self._checked = monotonic()
        results = []
        for replica in self._group:
            results += self._dispatcher.check_straggler(replica)
            self._dispatcher.refuse_hopeless()
        self._group.rescale()
        return results


def _none(results: Sequence[UnitResult]) -> None:
    assert not results, "no unit has been handed out"


def _answered(references: Mapping[Any, ReplicaHandle]) -> list[Any]:
    """One reference that is answered within a second, if any."""
    if not references:
        sleep(0.1)
        return []
    ready, _ = ray.wait(list(references), num_returns=1, timeout=1.0)
    return list(ready)
