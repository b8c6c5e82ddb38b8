"""A replica as the pool sees it: its calls in flight, and how long it takes for them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray

from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.pool.backlog import Call
from raysmooth.pipeline.pool.draws_units import DrawsUnits
from raysmooth.pipeline.pool.tasks import UnitAttempt


@dataclass(eq=False)
class ReplicaHandle:
    """`asked` is the reference to its identity or preparation, while that is pending.

    `added`: the pool was not begun with it. `begun`: when its start began; `start_seconds`: how long it took.

    `in_flight`: calls submitted to this replica, oldest first, by their references; `since`: start time of the oldest;
    `isolated`: they are suspects. `slow`: that call takes too long, so the replica gets no further one until it
    answers. `draining`: its node is about to be removed. `stopped`: the pool has ended it, so late answers are ignored.
    """

    handle: Any
    asked: Any = None
    identity: ReplicaIdentity | None = None
    node_id: str | None = None
    ready: bool = False
    added: bool = False
    begun: float = field(default_factory=lambda: monotonic())
    start_seconds: float = 0.0
    in_flight: dict[Any, Call] = field(default_factory=dict)
    since: float = 0.0
    isolated: bool = False
    slow: bool = False
    draining: bool = False
    stopped: bool = False

    @property
    def node(self) -> str:
        """Its node's name, for notes."""
        return self.identity.node if self.identity is not None else "its node"

    @property
    def references(self) -> list[Any]:
        """References to all pending answers."""
        return [*self.in_flight, *([self.asked] if self.asked is not None else [])]

    @property
    def attempts(self) -> Iterator[UnitAttempt]:
        return (attempt for call in self.in_flight.values() for attempt in call)

    @property
    def has_free_slot(self) -> bool:
        """Whether it may get a call; one that draws suspects may not."""
        return self.ready and not self.slow and not (self.isolated and self.in_flight)

    @property
    def busy_seconds(self) -> float:
        """How long it has been at its oldest call."""
        return monotonic() - self.since if self.in_flight else 0.0

    def ask_identity(self) -> None:
        """Ask for its identity, and for the id of its node, which only Ray knows."""
        self.asked = self.handle.__ray_call__.remote(introduction)

    def begin(self) -> None:
        """Its start, or its preparation for further runs, begins."""
        self.ready, self.begun = False, monotonic()

    def became_ready(self) -> None:
        self.ready, self.start_seconds = True, monotonic() - self.begun

    def submitted(self, call: Call, reference: Any, isolated: bool = False) -> None:
        if not self.in_flight:
            self.since, self.isolated = monotonic(), isolated
        self.in_flight[reference] = call

    def answered(self, reference: Any) -> Call:
        """The call that `reference` answers; it is no longer in flight."""
        self.since, self.slow = monotonic(), False
        return self.in_flight.pop(reference)

    def take_back(self) -> list[Call]:
        """The calls in flight, oldest first, each without the attempts whose results are in; none is in flight
        afterwards.
        """
        held, self.in_flight = list(self.in_flight.values()), {}
        return [[attempt for attempt in call if not attempt.done] for call in held]


def introduction(replica: DrawsUnits) -> tuple[ReplicaIdentity, str]:
    """Called in the actor's process: its identity, and the id of its Ray node."""
    return replica.identity(), ray.get_runtime_context().get_node_id()
