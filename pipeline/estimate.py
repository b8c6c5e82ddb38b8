"""What a job will cost, before it is begun: draws, time and disk."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from time import monotonic

import numpy as np

from actors.work_unit import Role
from pipeline.datasets import UnreadableImage
from pipeline.orders import Order, Outcome
from pipeline.pool import Pool
from pipeline.run import Run
from pipeline.sampling_rule import Need
from pipeline.store import FLUSH_SECONDS, FLUSH_SHARE

MEASURED_SECONDS = 2.0
"""How long each run is drawn to see how fast that goes."""

SAMPLE_SECONDS, SAMPLE_IMAGES = 6.0, 32
"""Images stop early by what they look like: so many of them, or as many as this time allows, are drawn to see when."""

_FILE_BYTES, _ROW_BYTES, _BLOCK_BYTES = 11_000, 45, 20
"""What Parquet takes for a pair of part files, a certificate, and a block of counts, measured with ten classes."""


@dataclass(frozen=True)
class Estimate:
    """One run: `images` that are still to be done, `draws` that they are expected to need and `most_draws` that they
    cannot exceed, `draws_per_second` of all `replicas` together, drawing at the same time. `sampled` is the number of
    images from which the draws of others were judged, None where it is known.
    """

    run: Run
    images: int
    draws: float
    most_draws: int
    sampled: int | None
    draws_per_second: float
    replicas: int

    def seconds(self, replicas: int | None = None) -> float:
        """Expected time of drawing, here or on so many replicas like these."""
        speed_up = 1.0 if replicas is None else replicas / self.replicas
        return self.draws / (self.draws_per_second * speed_up)

    @property
    def disk_bytes(self) -> float:
        """About what the run will take in <out>."""
        blocks = self.images + self.draws / self.run.settings.block_size
        return self.images * _ROW_BYTES + blocks * _BLOCK_BYTES + _flushes(self.seconds()) * _FILE_BYTES


def estimate_runs(pool: Pool, runs: Sequence[Run], images_left: Sequence[int]) -> list[Estimate]:
    """What it costs to draw the `images_left` of each of `runs`, for which `pool` is prepared. Draws a little, and
    keeps none of it.
    """
    return [_estimate_one(pool, index, run, images_left[index]) for index, run in enumerate(runs)]


def _estimate_one(pool: Pool, index: int, run: Run, left: int) -> Estimate:
    rates = pool.ask_all("measure", index, run.image_shape, MEASURED_SECONDS)
    draws, sampled = run.draws_per_image, None
    if not run.is_fixed:
        sample = _Sample(index, run)
        for outcome in pool.draw(sample.next_order, lambda unit: True):
            sample.take(outcome)
        draws, sampled = sample.mean_draws(), len(sample.images)
    return Estimate(run, left, left * draws, left * run.most_draws, sampled, sum(rates), len(rates))


@dataclass
class _Sampled:
    """An image on the way to its last stage."""

    image: np.ndarray
    need: Need
    counts: dict[Role, np.ndarray] = field(default_factory=dict)
    awaited: int = 0


class _Sample:
    """Images spread over a run's index set, drawn until their rule foretells how many draws they need, or time is up:
    those that are not through by then count with what they have needed so far.
    """

    def __init__(self, index: int, run: Run) -> None:
        self._index, self._run = index, run
        ids, apart = run.index_set.ids, max(1, len(run.index_set) // SAMPLE_IMAGES)
        self._waiting = deque(ids[::apart][:SAMPLE_IMAGES])
        self._ready: deque[Order] = deque()
        self._until = monotonic() + SAMPLE_SECONDS
        self.images: dict[int, _Sampled] = {}

    def next_order(self) -> Order | None:
        if monotonic() > self._until:
            return None
        while not self._ready and self._waiting:
            image_id = self._waiting.popleft()
            try:
                example = self._run.dataset.read(image_id)
            except UnreadableImage:
                continue
            if example.image.shape == self._run.image_shape:
                self.images[image_id] = _Sampled(example.image, {})
                self._ask_for(image_id, self._run.rule.first)
        return self._ready.popleft() if self._ready else None

    def take(self, outcome: Outcome) -> None:
        unit = outcome.order.unit
        (image_id,) = unit.image_ids
        sampled = self.images[image_id]
        if outcome.drawn is None:
            del self.images[image_id]
            return
        sampled.counts[unit.role] = sampled.counts.get(unit.role, 0) + outcome.drawn.counts.sum(axis=0)
        sampled.awaited -= unit.draws
        if sampled.awaited == 0 and (need := self._run.rule.next(sampled.counts)) is not None:
            self._ask_for(image_id, need)

    def mean_draws(self) -> float:
        needed = [sum(sampled.need.values()) for sampled in self.images.values()]
        return sum(needed) / len(needed) if needed else self._run.draws_per_image

    def _ask_for(self, image_id: int, need: Need) -> None:
        sampled = self.images[image_id]
        before, sampled.need = sampled.need, need
        if self._run.rule.is_last(need):
            return
        for role in sorted(need):
            more = need[role] - before.get(role, 0)
            # Streams of other blocks than the run's would do as well: nothing of this is kept.
            cells = self._run.plan.cells(image_id, more, -(-before.get(role, 0) // self._run.settings.block_size))
            for unit in self._run.plan.units(self._index, role, cells):
                self._ready.append(Order(unit, {image_id: sampled.image}))
            sampled.awaited += max(0, more)


def _flushes(seconds: float) -> float:
    """How many times a run of that length writes what it has."""
    steady = FLUSH_SECONDS / FLUSH_SHARE
    return 1 + min(seconds, steady) / FLUSH_SECONDS + max(0.0, log(max(seconds, steady) / steady)) / FLUSH_SHARE
