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

    `in_flight`: calls submitted to this replica, oldest first, by their references; `since`: start time of the oldest.
    `slow`: that call takes too long, so the replica gets no further one until it answers. `draining`: its node is about
    to be removed. `stopped`: the pool has ended it, so late answers are ignored.
    """

    handle: Any
    asked: Any = None
    identity: ReplicaIdentity | None = None
    node_id: str | None = None
    ready: bool = False
    in_flight: dict[Any, Call] = field(default_factory=dict)
    since: float = 0.0
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
        """Whether it may get a call; a replica that draws a suspect may not."""
        return self.ready and not self.slow and not any(attempt.suspect for attempt in self.attempts)

    def ask_identity(self) -> None:
        """Ask for its identity, and for the id of its node, which only Ray knows."""
        self.asked = self.handle.__ray_call__.remote(introduction)

    def submitted(self, call: Call, reference: Any) -> None:
        if not self.in_flight:
            self.since = monotonic()
        self.in_flight[reference] = call

    def answered(self, reference: Any) -> Call:
        """The call that `reference` answers; it is no longer in flight."""
        self.since, self.slow = monotonic(), False
        return self.in_flight.pop(reference)

    def take_unfinished(self) -> list[UnitAttempt]:
        """The attempts in flight whose results are not in; none is in flight afterwards."""
        held, self.in_flight = list(self.attempts), {}
        return [attempt for attempt in held if not attempt.done]


def introduction(replica: DrawsUnits) -> tuple[ReplicaIdentity, str]:
    """Called in the actor's process: its identity, and the id of its Ray node."""
    return replica.identity(), ray.get_runtime_context().get_node_id()
