"""The cluster's nodes as the pool sees them: how many replicas they hold, and which are about to be removed."""

from time import monotonic

import ray
from ray._private.state import state  # the notice before a spot instance is taken has no public interface

from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.ray_cluster.ray_watch import interruptible

LOOK_SECONDS = 1.0
"""How often the list of nodes is read."""


class Nodes:
    """`fit`: how many replicas of such `resources` the present nodes hold, ignoring whatever else runs on them;
    `draining`: ids of nodes that Ray drains because their machine will be taken away. Nodes in `barred` are not used.
    """

    def __init__(self, resources: ReplicaResources) -> None:
        self._resources = resources
        self._looked = -LOOK_SECONDS
        self.fit, self.draining, self.barred = 0, frozenset[str](), set[str]()

    def bar(self, node_id: str) -> None:
        self.barred.add(node_id)
        self._looked = -LOOK_SECONDS
        self.look()

    def look(self) -> None:
        """Read the list of nodes again, if it is time."""
        now = monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        draining, nodes = interruptible(lambda: (state.get_draining_nodes(), ray.nodes()))
        self.draining = frozenset(draining)
        closed = self.draining | self.barred
        alive = [node for node in nodes if node["Alive"] and node["NodeID"] not in closed]
        self.fit = sum(self._held_by(node["Resources"]) for node in alive)

    def _held_by(self, has: dict[str, float]) -> int:
        gpus, cpus = self._resources.gpus, self._resources.cpus
        fit = int(has.get("CPU", 0.0) // cpus)
        if gpus > 0:
            own = has.get("GPU", 0.0)
            fit = min(fit, int(own) * int(1 / gpus) if gpus < 1 else int(own // gpus))
        return fit
