"""The supply of a run's units: which of them can be drawn now, in the order in which they are handed out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.pipeline.drawing.open_images import ShardRequests
from raysmooth.pipeline.pool.tasks import UnitRequest


class UnitSupply:
    """A run's requests for units, in a fixed order. They wait in two queues: `due` (retries, and rounds after the
    first) goes first; `first_round` holds the units of the shard opened last. Only when both are empty is the next of
    `shards` opened. Requests for units that are no longer `wanted` are dropped when their turn comes.
    """

    def __init__(
        self,
        shards: Iterable[Sequence[int]],
        open_shard: Callable[[Sequence[int]], ShardRequests],
        wanted: Callable[[WorkUnit], bool],
    ) -> None:
        self._shards = iter(shards)
        self._open_shard = open_shard
        self._wanted = wanted
        self._due: deque[UnitRequest] = deque()
        self._first_round: deque[UnitRequest] = deque()

    def add(self, requests: Iterable[UnitRequest]) -> None:
        """Queue requests that are due."""
        self._due.extend(requests)

    def next(self) -> UnitRequest | None:
        """The next request; None if there is none now. There may be one again after `add`."""
        return self._next_of(self._due) or self._next_of_first_round() or self._next_of(self._due)

    def _next_of_first_round(self) -> UnitRequest | None:
        while (request := self._next_of(self._first_round)) is None:
            shard = next(self._shards, None)
            if shard is None:
                return None
            opened = self._open_shard(shard)
            self._first_round.extend(opened.first_round)
            self._due.extend(opened.due)
        return request

    def _next_of(self, waiting: deque[UnitRequest]) -> UnitRequest | None:
        while waiting:
            if self._wanted((request := waiting.popleft()).unit):
                return request
        return None


def one_by_one(request: UnitRequest) -> Iterator[UnitRequest]:
    """A failed unit once for each of its images alone, in its place among blank ones, so that the batches are the same:
    the image that then fails is the cause.
    """
    for image_id in request.unit.image_ids:
        blank = {other: np.zeros_like(image) for other, image in request.images.items()}
        yield UnitRequest(request.unit, {**blank, image_id: request.images[image_id]}, only=image_id)
