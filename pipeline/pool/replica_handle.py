"""A replica as the pool sees it: what it was asked, what it holds, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray

from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.pool.tasks import UnitAttempt

Call = list[UnitAttempt]
"""Work units that travel to a replica together."""


@dataclass(eq=False)
class ReplicaHandle:
    """`asked` is the call that has to be answered before it draws: who it is, or that it is prepared.

    `hand` holds its calls, which it carries out in their order; `since` is when it began the first. `overdue`: that
    takes too long, so that it gets nothing more until it answers. `leaving`: its node is about to go. `gone`: it was
    ended, and answers nobody.
    """

    handle: Any
    asked: Any
    identity: ReplicaIdentity | None = None
    node_id: str | None = None
    ready: bool = False
    hand: dict[Any, Call] = field(default_factory=dict)
    since: float = 0.0
    overdue: bool = False
    leaving: bool = False
    gone: bool = False

    @property
    def node(self) -> str:
        """Its node, for whoever watches."""
        return self.identity.node if self.identity is not None else "its node"

    @property
    def references(self) -> list[Any]:
        """All that it has yet to answer."""
        return [*self.hand, *([self.asked] if self.asked is not None else [])]

    @property
    def errands(self) -> Iterator[UnitAttempt]:
        return (errand for call in self.hand.values() for errand in call)

    @property
    def alone_with_suspect(self) -> bool:
        return any(errand.suspect for errand in self.errands)

    @property
    def is_free(self) -> bool:
        """Whether it may be handed something."""
        return self.ready and not self.overdue and not self.alone_with_suspect

    def ask_who(self) -> None:
        """Ask for its identity, and for the id of its node, which only Ray knows."""
        self.asked = self.handle.__ray_call__.remote(introduction)

    def send(self, call: Call, reference: Any) -> None:
        if not self.hand:
            self.since = monotonic()
        self.hand[reference] = call

    def answered(self, reference: Any) -> Call:
        """The call that `reference` answers, which it holds no more."""
        self.since, self.overdue = monotonic(), False
        return self.hand.pop(reference)

    def emptied(self) -> list[UnitAttempt]:
        """What it had in its hand and nobody has done, which it holds no more."""
        held, self.hand = list(self.errands), {}
        return [errand for errand in held if not errand.done]


def introduction(replica: Any) -> tuple[ReplicaIdentity, str]:
    """Called within a replica: who it is, and on which of Ray's nodes."""
    return replica.identity(), ray.get_runtime_context().get_node_id()
