"""The replicas of a pool: start, identity, preparation, replacement, and how many there should be."""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

import ray
from ray.exceptions import RayTaskError

from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.pool.draws_units import DrawsUnits
from raysmooth.pipeline.pool.failures import reason_of
from raysmooth.pipeline.pool.nodes import Nodes
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.startup import Startup
from raysmooth.pipeline.ray_cluster.ray_session import IdleReplicas

AHEAD = 32
"""Replicas that wait for nodes to join: an autoscaler starts nodes for them, and new nodes take them at once."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before another replica is started after one died while starting; doubled each time. Ray still offers a node
for some seconds after its death, and whatever is sent there ends at once."""


class ReplicaGroup:
    """`size` replicas, or up to `most` if nodes join that hold them and there is work for them; all of the kind of the
    first that is up. `note`, `replica` and `idle` are those of Pool.
    """

    def __init__(
        self,
        size: int,
        most: int,
        resources: ReplicaResources,
        note: Callable[[str], None],
        replica: type[DrawsUnits],
        idle: IdleReplicas | None = None,
    ) -> None:
        self.size, self._most = size, most
        self._resources, self._note, self._actor_class = resources, note, replica
        self.identity: ReplicaIdentity | None = None
        self.units_left: Callable[[], int] = lambda: most
        self._samplings: list[Sampling] | None = None
        self._shapes: list[tuple[int, ...]] = []
        self._nodes = Nodes(resources)
        self._grows = False
        self._pause, self._start_again = FIRST_PAUSE, 0.0
        self._startup = Startup(resources, note, lambda: f"; free now: {_free_resources()}")
        self._idle, self._kind = idle, (resources, replica)
        self._replicas = [self._start(idle.take(self._kind) if idle is not None else None) for _ in range(size)]

    def __iter__(self) -> Iterator[ReplicaHandle]:
        return iter(list(self._replicas))

    @property
    def wanted(self) -> int:
        """How many replicas there should be: as many as the work can use, and not many more than the nodes hold."""
        if self._most == self.size:
            return self.size
        return max(1, min(self._most, self._nodes.fit + AHEAD, self.units_left()))

    def are_ready(self) -> bool:
        """Whether all replicas that fit the present nodes can draw; others wait for nodes to join."""
        self._nodes.look()
        ready = sum(replica.ready for replica in self._replicas)
        return ready >= min(len(self._replicas), max(1, self._nodes.fit))

    def prepare(self, samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]]) -> None:
        """Have all replicas load and compile, future ones too."""
        self._samplings, self._shapes = list(samplings), list(shapes)
        for replica in self._replicas:
            replica.begin()
            if replica.identity is not None:
                self._ask_to_prepare(replica)

    def receive(self, replica: ReplicaHandle) -> None:
        """Take the answer to `replica.asked`: its identity, or that it is prepared. Raises RayError if it has died."""
        asked, replica.asked = replica.asked, None
        try:
            answer = ray.get(asked)
        except RayTaskError as error:
            raise RaysmoothError(reason_of(error)) from error
        if replica.identity is not None:
            replica.became_ready()
            if replica.added and len(self._replicas) > 1 and self._grows:
                up = sum(other.ready for other in self._replicas)
                self._note(f"{up} replicas now: one more on {replica.node}")
            return
        identity, replica.node_id = answer
        self.identity = self.identity or identity
        self._pause, self._start_again = FIRST_PAUSE, 0.0
        if identity.kind == self.identity.kind:
            replica.identity = identity
            if self._samplings is not None:
                self._ask_to_prepare(replica)
            return
        # Another kind of device rounds differently: its counts would be those of another base classifier.
        self._note(
            f"replica on {identity.node} runs on different hardware or versions ({', '.join(identity.kind)}); "
            "not used, so that results stay reproducible"
        )
        self._nodes.bar(str(replica.node_id))
        self.stop(replica)
        if not self._replicas or not self._nodes.fit:
            raise RaysmoothError(
                f"stopped: no replica is left of the run's kind ({', '.join(self.identity.kind)}): "
                "run the command again where there is one"
            )

    def begin(self, units_left: Callable[[], int] | None) -> None:
        """Drawing begins: from now on new replicas are noted, and there are no more than about `units_left`."""
        self.units_left = units_left or self.units_left
        self._grows = True

    def replace(self, replica: ReplicaHandle) -> None:
        """Stop it and start another: now, or after a pause if it died while starting."""
        self.stop(replica)
        if replica.identity is None:
            self._start_again = monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._fill_up()

    def stop(self, replica: ReplicaHandle) -> None:
        self._replicas.remove(replica)
        replica.stopped = True
        ray.kill(replica.handle)  # unreachable is not always dead: two must not hold one GPU

    def rescale(self) -> None:
        """Drain replicas on nodes that are about to be removed, start missing ones, and stop those without work: first
        the ones that wait for a node, then idle ones.
        """
        self._nodes.look()
        for replica in self:
            if not replica.draining and replica.node_id in self._nodes.draining:
                replica.draining = True
                self._note(
                    f"{replica.node} is about to be removed: its replica finishes its calls, others draw the rest"
                )
            if replica.draining and not replica.in_flight:
                self.stop(replica)
        self._fill_up()
        wanted = self.wanted
        waiting = [replica for replica in self._replicas if replica.node_id is None]
        for replica in waiting[: len(self._replicas) - wanted]:
            self.stop(replica)
        if len(self._replicas) > 2 * wanted:  # not for a few: a round of more units may still come
            idle = [replica for replica in self._replicas if not replica.in_flight]
            for replica in idle[: len(self._replicas) - wanted]:
                self.stop(replica)

    def check_startup(self) -> None:
        """As `Startup.check`."""
        # Preparing has no limit: compiling may take minutes.
        self._startup.check(up=any(replica.identity for replica in self._replicas))

    def close(self) -> None:
        """End the replicas, or leave those that hold no work to the next call. One that has imported the user's own
        code, which may change between calls, is replaced by another, which starts meanwhile.
        """
        own_code = any(Variant.parse(sampling.base.classifier).is_own for sampling in self._samplings or ())
        for replica in self:
            keeps = self._idle is not None and not replica.in_flight and not replica.draining
            if not keeps or own_code:
                self.stop(replica)
            if self._idle is not None and keeps:
                self._idle.keep(self._kind, self._actor() if own_code else replica.handle)
        self._replicas.clear()

    def _fill_up(self) -> None:
        while len(self._replicas) < self.wanted and monotonic() >= self._start_again:
            replica = self._start()
            replica.added = True
            self._replicas.append(replica)

    def _start(self, idle: Any | None = None) -> ReplicaHandle:
        replica = ReplicaHandle(self._actor() if idle is None else idle)
        replica.ask_identity()
        return replica

    def _actor(self) -> Any:
        # Nodes of another kind are left to other users.
        barred = self._nodes.barred
        actor = ray.remote(self._actor_class).options(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            label_selector={"ray.io/node-id": f"!in({','.join(sorted(barred))})"} if barred else None,
        )
        return actor.remote(self._resources.device, int(self._resources.cpus))

    def _ask_to_prepare(self, replica: ReplicaHandle) -> None:
        replica.asked = replica.handle.prepare.remote(self._samplings, self._shapes)


def _free_resources() -> str:
    free = ray.available_resources()
    return ", ".join(f"{free.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
