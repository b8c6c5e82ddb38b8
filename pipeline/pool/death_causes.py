"""What Ray knows of a replica's death, and whether that says anything of the units that the replica held.

Ray 2.60 keeps the cause in its table of actors, also where the dashboard is off. Of a process that ended without a word
it knows only that the connection was closed ("connection error code 2. End of file"): SIGKILL, SIGSEGV, abort and
`os._exit` look alike, and the signal is not kept. Such a death counts as unknown, though it may come from outside: the
kernel's OOM killer sends SIGKILL too, often because of what the process computes.
"""

from enum import Enum
from typing import Any

from ray._private.state import state  # the public interface needs the dashboard
from ray.core.generated.common_pb2 import ActorDeathCause, ActorDiedErrorContext  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import ActorTableData  # type: ignore[attr-defined]
from ray.exceptions import NodeDiedError, OutOfMemoryError

from raysmooth.pipeline.ray_cluster.ray_watch import interruptible

_OUTSIDE = frozenset(
    {
        ActorDiedErrorContext.NODE_DIED,  # lost, removed, preempted
        ActorDiedErrorContext.RAY_KILL,
        ActorDiedErrorContext.OWNER_DIED,
        ActorDiedErrorContext.OUT_OF_SCOPE,
        ActorDiedErrorContext.REF_DELETED,
    }
)

_TERMINATED = "receives a SIGTERM"
"""What the worker's last message says after SIGTERM, as batch systems and people send it."""


class DeathCause(Enum):
    """`OUTSIDE`: the node is gone, the process was asked to end, or Ray's memory monitor chose it, whatever it drew.
    `UNKNOWN`: a unit may have done it. `STARTING`: it had no unit yet. `RAISED`: its constructor raised an exception.
    """

    OUTSIDE = "outside"
    UNKNOWN = "unknown"
    STARTING = "starting"
    RAISED = "raised"


def cause_of_death(handle: Any, error: BaseException, was_ready: bool) -> DeathCause:
    """Why the actor of `handle` died, whose call raised `error`. UNKNOWN if it `was_ready` to draw and Ray does not say
    why, or does not know yet that it is dead.
    """
    if not was_ready:
        return DeathCause.RAISED if getattr(error, "actor_init_failed", False) else DeathCause.STARTING
    if isinstance(error, OutOfMemoryError | NodeDiedError) or getattr(error, "preempted", False):
        return DeathCause.OUTSIDE
    actor_id = getattr(handle, "_actor_id", None)
    stored = interruptible(lambda: state.get_actor_info(actor_id)) if actor_id is not None else None
    if stored is None:
        return DeathCause.UNKNOWN
    actor = ActorTableData.FromString(stored)
    if actor.state != ActorTableData.DEAD:
        return DeathCause.UNKNOWN
    return DeathCause.OUTSIDE if _is_from_outside(actor.death_cause) else DeathCause.UNKNOWN


def _is_from_outside(cause: ActorDeathCause) -> bool:
    if cause.HasField("oom_context"):
        return True
    context = cause.actor_died_error_context
    return context.reason in _OUTSIDE or _TERMINATED in context.error_message
