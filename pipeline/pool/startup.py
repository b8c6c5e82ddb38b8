"""How long a pool waits for its first replica, and what the user reads meanwhile."""

from collections.abc import Callable
from time import monotonic

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.stragglers import PATIENCE

NOTE_SECONDS = 15.0
"""How often a note says that no replica is up."""


class Startup:
    """For replicas that need `resources` each. `more`: what a note says beside that."""

    def __init__(
        self, resources: ReplicaResources, note: Callable[[str], None], more: Callable[[], str] = lambda: ""
    ) -> None:
        self._note, self._more = note, more
        self._needs = f"{resources.gpus:g} GPU and " * (resources.gpus > 0) + f"{resources.cpus} CPU on one node"
        self._down_since = self._noted = monotonic()

    def check(self, up: bool) -> None:
        """Note it if no replica is `up`; raises RaysmoothError if none comes up for PATIENCE seconds."""
        now = monotonic()
        if up:
            self._down_since = self._noted = now
        elif now - self._down_since > PATIENCE:
            raise RaysmoothError(
                f"stopped: no replica came up in {PATIENCE:.0f} s; each needs {self._needs}: "
                "write other --gpus-per-replica or --cpus-per-replica, or add such a node"
            )
        elif now - self._noted > NOTE_SECONDS:
            self._noted = now
            self._note(f"waiting for a replica (each needs {self._needs}{self._more()})")
