"""The replicas that ask, and the one bucket of rights to send that they share: start, replacement, signs of life."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysmooth.actors.queries.query_replica import QueryReplica, ReplicaPlace
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.actors.queries.rate_bucket import BucketState, RateBucket, RemoteBucket
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.failures import reason_of
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.startup import Startup
from raysmooth.pipeline.query_pool.open_units import OpenDraw

MOST_CALLS = 10_000
"""Calls that a replica's event loop takes at once: none may keep a permit waiting."""

PING_SECONDS, SILENT_SECONDS = 10.0, 120.0
"""How often a replica is asked whether it lives, and how long it may take to say so: its event loop waits for nothing,
whatever the API does."""

MOST_DEATHS = 5
"""Replicas that may die one after the other without a single answer between."""


@dataclass(eq=False)
class AskingCall:
    """A call in flight: the stream of its events, and its draws that have no last event yet."""

    events: Any
    draws: dict[Any, OpenDraw]


@dataclass(eq=False)
class AskingReplica:
    """`asked`: the reference to its preparation, or to a sign of life, while that is pending since `asked_at`."""

    handle: Any
    asked: Any = None
    asked_at: float = field(default_factory=monotonic)
    place: ReplicaPlace | None = None
    calls: list[AskingCall] = field(default_factory=list)

    @property
    def held(self) -> int:
        """Draws that it has been given."""
        return sum(len(call.draws) for call in self.calls)

    @property
    def where(self) -> str:
        return self.place.node if self.place is not None else "its node"


class AskingReplicas:
    """As many as `start` says, which is called when the first is needed, and connects to Ray. `actor`: their class."""

    def __init__(
        self,
        start: Callable[[], tuple[int, ReplicaResources]],
        specs: Sequence[QuerySpec],
        rate: float | None,
        note: Callable[[str], None],
        actor: type[QueryReplica] = QueryReplica,
    ) -> None:
        self._start, self._specs, self._rate, self._note, self._actor = start, specs, rate, note, actor
        self._replicas: list[AskingReplica] = []
        self._resources: ReplicaResources | None = None
        self._bucket: Any = None
        self._deaths = 0
        self._startup: Startup | None = None

    def __iter__(self) -> Iterator[AskingReplica]:
        return iter(list(self._replicas))

    @property
    def ready(self) -> list[AskingReplica]:
        """Those that can ask."""
        return [replica for replica in self._replicas if replica.place is not None]

    def begin(self) -> None:
        """Start them, if they are not."""
        if self._resources is not None:
            return
        number, self._resources = self._start()
        self._bucket = self._new_bucket(self._rate)
        self._startup = Startup(self._resources, self._note)
        for _ in range(number):
            self._start_one()

    def receive(self, replica: AskingReplica) -> None:
        """Take the answer to `asked`. Raises RaysmoothError if it cannot be prepared, RayError if it has died."""
        asked, replica.asked, replica.asked_at = replica.asked, None, monotonic()
        try:
            replica.place = ray.get(asked)
        except RayTaskError as error:
            raise RaysmoothError(reason_of(error)) from error

    def has_answered(self) -> None:
        """A draw is answered: deaths before it count no more."""
        self._deaths = 0

    def replace(self, replica: AskingReplica, error: BaseException) -> None:
        """It is dead, or counts as dead, as `error` says: start another. Raises RaysmoothError if too many die."""
        self._replicas.remove(replica)
        ray.kill(replica.handle)  # unreachable is not always dead
        if getattr(error, "actor_init_failed", False):
            raise RaysmoothError(f"stopped: a replica cannot start: {one_line(error)}")
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise RaysmoothError(
                f"stopped: {self._deaths} replicas died one after the other without an answer: look for the reason in "
                "Ray's logs, such as too little memory, then rerun the same command to resume"
            )
        self._start_one()

    def silent(self) -> AskingReplica | None:
        """One that gives no sign of life; others are asked for one."""
        now = monotonic()
        for replica in self._replicas:
            if replica.place is None:
                continue
            if replica.asked is None and now - replica.asked_at > PING_SECONDS:
                replica.asked, replica.asked_at = replica.handle.place.remote(), now
            elif replica.asked is not None and now - replica.asked_at > SILENT_SECONDS:
                return replica
        return None

    def check_startup(self) -> None:
        """As `Startup.check`."""
        if self._startup is not None:
            self._startup.check(up=bool(self.ready) or not self._replicas)

    def bucket(self) -> BucketState | None:
        """The bucket's present state; None if it is not known."""
        if self._bucket is None:
            return None
        try:
            state: BucketState = ray.get(self._bucket.state.remote(), timeout=0.5)
        except (RayError, GetTimeoutError):  # it is being started again
            return None
        return state

    def close(self) -> None:
        for replica in self._replicas:
            self._leave(replica)
        self._leave_bucket(self._bucket)
        self._replicas, self._bucket, self._resources, self._startup = [], None, None, None

    def _start_one(self) -> None:
        assert self._resources is not None
        handle = self._new_replica(self._resources, self._bucket)
        self._replicas.append(AskingReplica(handle, handle.prepare.remote(self._specs)))

    def _new_bucket(self, rate: float | None) -> Any:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        bucket = ray.remote(RateBucket).options(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=MOST_CALLS, scheduling_strategy=here
        )
        return bucket.remote(rate)

    def _new_replica(self, resources: ReplicaResources, bucket: Any) -> Any:
        actor = ray.remote(self._actor).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_restarts=0,
            max_concurrency=MOST_CALLS,
            scheduling_strategy="SPREAD",
        )
        return actor.remote(resources.device, max(1, int(resources.cpus)), RemoteBucket(bucket))

    def _leave(self, replica: AskingReplica) -> None:
        ray.kill(replica.handle)

    def _leave_bucket(self, bucket: Any | None) -> None:
        if bucket is not None:
            ray.kill(bucket)
