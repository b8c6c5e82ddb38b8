"""Replicas that ask, and their bucket, which outlive their pool: a process takes seconds to start, a test asks a few
queries.
"""

from typing import Any, ClassVar

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


class KeptReplicas(AskingReplicas):
    """Takes replicas that an earlier pool has left, prepares them again, and leaves its own, if they are idle. They
    reserve no resources, which other tests need.
    """

    bucket_left: ClassVar[Any] = None
    replicas_left: ClassVar[list[tuple[type[QueryReplica], Any]]] = []

    def _new_bucket(self, rate: float | None) -> Any:
        if KeptReplicas.bucket_left is None:
            KeptReplicas.bucket_left = (
                ray.remote(KeptBucket).options(num_cpus=0, max_concurrency=MOST_CALLS).remote(rate)
            )
        ray.get(KeptReplicas.bucket_left.begin.remote(rate))
        return KeptReplicas.bucket_left

    def _leave_bucket(self, bucket: Any | None) -> None: ...

    def _new_replica(self, resources: ReplicaResources, bucket: Any) -> Any:
        kind = BriefReplica if self._actor is QueryReplica else self._actor
        for left in KeptReplicas.replicas_left:
            if left[0] is kind:
                KeptReplicas.replicas_left.remove(left)
                return left[1]
        actor = ray.remote(kind).options(num_cpus=0, max_concurrency=MOST_CALLS)
        return actor.remote(resources.device, max(1, int(resources.cpus)), RemoteBucket(bucket))

    def _leave(self, replica: AskingReplica) -> None:
        if replica.place is None or replica.held or replica.asked is not None:
            super()._leave(replica)
        else:
            kind = BriefReplica if self._actor is QueryReplica else self._actor
            KeptReplicas.replicas_left.append((kind, replica.handle))

    @classmethod
    def end(cls) -> None:
        """End all that is left."""
        for actor in (*(handle for _, handle in cls.replicas_left), cls.bucket_left):
            if actor is not None:
                ray.kill(actor)
        cls.bucket_left, cls.replicas_left = None, []
