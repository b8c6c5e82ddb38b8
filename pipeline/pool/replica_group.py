"""The replicas of a pool: starts them, learns who they are, has them prepare, and settles how many there should be."""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

import ray
from ray.exceptions import RayTaskError

from raysmooth.actors.replica.replica import Sampling
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.cluster import ReplicaResources
from raysmooth.pipeline.pool.failures import reason_of
from raysmooth.pipeline.pool.nodes import Nodes
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.stragglers import PATIENCE

AHEAD = 32
"""Replicas that wait for nodes to join: an autoscaler starts nodes for them, and nodes that join take them at once."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before another replica is started where one died while starting; twice as many each time. A node that just
died is offered by Ray for some seconds more, and ends whatever is sent there at once."""

TELL = 15.0
"""How often, in seconds, whoever watches hears that there is no replica."""


class ReplicaGroup:
    """`size` replicas, or up to `most` as nodes join that hold them and there is work for them; all of the kind of the
    first that is up. `note` and `replica` are those of Pool.
    """

    def __init__(
        self,
        size: int,
        most: int,
        resources: ReplicaResources,
        note: Callable[[str], None],
        replica: type[Any],
    ) -> None:
        self.size, self._most = size, most
        self._resources, self._note, self._replica = resources, note, replica
        self.identity: ReplicaIdentity | None = None
        self.units_left: Callable[[], int] = lambda: most
        self._samplings: list[Sampling] | None = None
        self._shapes: list[tuple[int, ...]] = []
        self._nodes = Nodes(resources)
        self._grows = False
        self._pause, self._start_again = FIRST_PAUSE, 0.0
        self._alone_since = self._told = monotonic()
        self.members = [self._start() for _ in range(size)]

    def __iter__(self) -> Iterator[ReplicaHandle]:
        return iter(list(self.members))

    @property
    def wanted(self) -> int:
        """How many replicas there should be: as many as the work can use, and not many more than there is room for."""
        if self._most == self.size:
            return self.size
        return max(1, min(self._most, self._nodes.fit + AHEAD, self.units_left()))

    def are_ready(self) -> bool:
        """Whether all can draw that there is room for; others wait for nodes to join."""
        self._nodes.look()
        ready = sum(member.ready for member in self.members)
        return ready >= min(len(self.members), max(1, self._nodes.fit))

    def prepare(self, samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]]) -> None:
        """Have all replicas load and compile, those to come too."""
        self._samplings, self._shapes = list(samplings), list(shapes)
        for member in self.members:
            if member.identity is not None:
                self._ask_to_prepare(member)

    def receive(self, member: ReplicaHandle) -> None:
        """The answer to what `member` was asked: it is known now, or ready. Raises RayError where it has died."""
        asked, member.asked = member.asked, None
        try:
            answer = ray.get(asked)
        except RayTaskError as error:
            raise RaysmoothError(reason_of(error)) from error
        if member.identity is not None:
            member.ready = True
            if len(self.members) > 1 and self._grows:
                up = sum(other.ready for other in self.members)
                self._note(f"{up} replicas now: one more on {member.node}")
            return
        identity, member.node_id = answer
        self.identity = self.identity or identity
        self._pause, self._start_again = FIRST_PAUSE, 0.0
        if identity.kind == self.identity.kind:
            member.identity = identity
            if self._samplings is not None:
                self._ask_to_prepare(member)
            return
        # Another kind of device rounds differently: its counts would be of another base classifier.
        self._note(f"a replica on {identity.node} is of another kind ({', '.join(identity.kind)}): unused")
        self._nodes.bar(str(member.node_id))
        self.end(member)
        if not self.members or not self._nodes.fit:
            raise RaysmoothError(
                f"stopped: no replica is left of the run's kind ({', '.join(self.identity.kind)}): "
                "run the command again where there is one"
            )

    def begin(self, units_left: Callable[[], int] | None) -> None:
        """Drawing begins: from now on it is told who comes, and there are no more than about `units_left`."""
        self.units_left = units_left or self.units_left
        self._grows = True

    def replace(self, member: ReplicaHandle) -> None:
        """End it, and start another: now, or after a pause where it has not even come up."""
        self.end(member)
        if member.identity is None:
            self._start_again = monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._fill_up()

    def end(self, member: ReplicaHandle) -> None:
        self.members.remove(member)
        member.gone = True
        ray.kill(member.handle)  # unreachable is not always dead: two must not hold one GPU

    def mind_the_nodes(self) -> None:
        """Let go who is on a node that is about to go, start what is missing, and end what there is no work for: first
        who waits for a node, then who is idle.
        """
        self._nodes.look()
        for member in self:
            if not member.leaving and member.node_id in self._nodes.leaving:
                member.leaving = True
                self._note(f"{member.node} is about to go: its replica ends what it has in hand, others draw the rest")
            if member.leaving and not member.hand:
                self.end(member)
        self._fill_up()
        wanted = self.wanted
        waiting = [member for member in self.members if member.node_id is None]
        for member in waiting[: len(self.members) - wanted]:
            self.end(member)
        if len(self.members) > 2 * wanted:  # not for a few: a stage of more units may still come
            idle = [member for member in self.members if not member.hand]
            for member in idle[: len(self.members) - wanted]:
                self.end(member)

    def mind_the_wait(self) -> None:
        """Say so where no replica is up, and give up when none comes."""
        now = monotonic()
        if any(member.identity for member in self.members):  # preparing has no limit: compiling may take minutes
            self._alone_since = self._told = now
            return
        needs = f"{self._resources.gpus:g} GPU and " * (self._resources.gpus > 0) + f"{self._resources.cpus} CPU"
        if now - self._alone_since > PATIENCE:
            raise RaysmoothError(
                f"stopped: no replica came up in {PATIENCE:.0f} s; each needs {needs} on one node: "
                "write other --gpus-per-replica or --cpus-per-replica, or add such a node"
            )
        if now - self._told > TELL:
            self._told = now
            self._note(f"waiting for a replica (each needs {needs} on one node; free now: {_free_resources()})")

    def close(self) -> None:
        for member in self:
            self.end(member)

    def _fill_up(self) -> None:
        while len(self.members) < self.wanted and monotonic() >= self._start_again:
            self.members.append(self._start())

    def _start(self) -> ReplicaHandle:
        # Nodes of another kind are left to others.
        barred = self._nodes.barred
        actor = ray.remote(self._replica).options(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            label_selector={"ray.io/node-id": f"!in({','.join(sorted(barred))})"} if barred else None,
        )
        member = ReplicaHandle(actor.remote(self._resources.device, int(self._resources.cpus)), None)
        member.ask_who()
        return member

    def _ask_to_prepare(self, member: ReplicaHandle) -> None:
        member.asked = member.handle.prepare.remote(self._samplings, self._shapes)


def _free_resources() -> str:
    free = ray.available_resources()
    return ", ".join(f"{free.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
