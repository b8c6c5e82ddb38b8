"""Replicas that ask, and their bucket, which outlive their pool: a process takes seconds to start, a test asks a few
queries.
"""

from typing import Any, ClassVar, NamedTuple

import ray

from raysmooth.actors.queries import sender
from raysmooth.actors.queries.query_replica import QueryReplica
from raysmooth.actors.queries.rate_bucket import Bucket, RateBucket, RemoteBucket
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.query_pool.asking_replicas import MOST_CALLS, AskingReplica, AskingReplicas

BRIEF = 0.02
"""Seconds of the first pause before a picture is sent again."""


class BriefReplica(QueryReplica):
    """Pauses briefly before it sends a picture again."""

    def __init__(self, device: str, threads: int, bucket: Bucket) -> None:
        sender.FIRST_PAUSE = BRIEF
        super().__init__(device, threads, bucket)


class KeptBucket(RateBucket):
    """Begins again for another pool."""

    async def begin(self, rate: float | None) -> None:
        RateBucket.__init__(self, rate)


class LeftReplica(NamedTuple):
    """`pending`: the answer to what it was last asked, if that had not come."""

    kind: type[QueryReplica]
    handle: Any
    pending: Any


class KeptReplicas(AskingReplicas):
    """Takes replicas that an earlier pool has left, prepares them again, and leaves its own, unless they hold draws.
    They reserve no resources, which other tests need.
    """

    bucket_left: ClassVar[Any] = None
    left: ClassVar[list[LeftReplica]] = []

    def _new_bucket(self, rate: float | None) -> Any:
        if KeptReplicas.bucket_left is None:
            bucket = ray.remote(KeptBucket).options(num_cpus=0, max_concurrency=MOST_CALLS)
            KeptReplicas.bucket_left = bucket.remote(rate)
        ray.get(KeptReplicas.bucket_left.begin.remote(rate))
        return KeptReplicas.bucket_left

    def _leave_bucket(self, bucket: Any | None) -> None: ...

    def _new_replica(self, resources: ReplicaResources, bucket: Any) -> Any:
        for left in sorted(KeptReplicas.left, key=lambda one: one.pending is not None):
            if left.kind is self._kind:
                KeptReplicas.left.remove(left)
                if left.pending is not None:  # two preparations at once would be mixed
                    ray.wait([left.pending])
                return left.handle
        actor = ray.remote(self._kind).options(num_cpus=0, max_concurrency=MOST_CALLS)
        return actor.remote(resources.device, max(1, int(resources.cpus)), RemoteBucket(bucket))

    @property
    def _kind(self) -> type[QueryReplica]:
        return BriefReplica if self._actor is QueryReplica else self._actor

    def _leave(self, replica: AskingReplica) -> None:
        if replica.held:
            super()._leave(replica)
        else:
            KeptReplicas.left.append(LeftReplica(self._kind, replica.handle, replica.asked))

    @classmethod
    def end(cls) -> None:
        """End all that is left."""
        for actor in (*(left.handle for left in cls.left), cls.bucket_left):
            if actor is not None:
                ray.kill(actor)
        cls.bucket_left, cls.left = None, []
