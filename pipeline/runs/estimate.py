"""What a job will cost, before it is begun: draws, time and disk."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from time import monotonic

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.pipeline.certification.sampling_rule import Need
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.run_store import FLUSH_SECONDS, FLUSH_SHARE

MEASURED_SECONDS = 2.0
"""How long each run is drawn to see how fast that goes."""

SAMPLE_SECONDS, SAMPLE_IMAGES = 6.0, 32
"""Images stop early by what they look like: so many of them, or as many as this time allows, are drawn to see when."""

_FILE_BYTES, _ROW_BYTES, _BLOCK_BYTES = 11_000, 45, 20
"""What Parquet takes for a pair of part files, a certificate, and a block of counts, measured with ten classes."""


@dataclass(frozen=True)
class Estimate:
    """One run: `images` that are still to be done, `draws` that they are expected to need and `most_draws` that they
    cannot exceed; `busy_seconds` of a replica that they take, `replicas` of which are here. `sampled` is the number of
    images from which the draws of the others were judged, None where draws are known beforehand.
    """

    run: Run
    images: int
    draws: float
    most_draws: int
    sampled: int | None
    busy_seconds: float
    replicas: int

    @property
    def draws_per_second(self) -> float:
        """Of all replicas that are here."""
        return self.draws / self.seconds() if self.draws else 0.0

    def seconds(self, replicas: int | None = None) -> float:
        """Expected time of drawing, here or on so many replicas like these."""
        return self.busy_seconds / (replicas or self.replicas)

    @property
    def disk_bytes(self) -> float:
        """About what the run will take in <out>."""
        if not self.images:
            return 0.0
        blocks = self.images + self.draws / self.run.settings.block_size
        return self.images * _ROW_BYTES + blocks * _BLOCK_BYTES + _flushes(self.seconds()) * _FILE_BYTES


def estimate_runs(pool: Pool, runs: Sequence[Run], images_left: Sequence[int]) -> list[Estimate]:
    """What it costs to draw the `images_left` of each of `runs`, for which `pool` is prepared if there are any. Draws
    a little, and keeps none of it.
    """
    return [_estimate_one(pool, index, run, images_left[index]) for index, run in enumerate(runs)]


def _estimate_one(pool: Pool, index: int, run: Run, left: int) -> Estimate:
    if not left:
        return Estimate(run, 0, 0.0, 0, None, 0.0, 1)
    rates = pool.ask_all("measure", index, run.image_shape, MEASURED_SECONDS)
    rate = sum(rates) / len(rates)
    draws, busy, sampled = run.draws_per_image, run.draws_per_image / rate, None
    if not run.is_fixed:
        sample = _Sample(index, run, rate)
        for outcome in pool.draw(sample.next_order, lambda unit: True):
            sample.take(outcome)
        draws, busy, sampled = sample.mean()
    return Estimate(run, left, left * draws, left * run.most_draws, sampled, left * busy, len(rates))


@dataclass
class _Sampled:
    """An image on the way to its last stage. `is_through`: its rule has foretold `need`."""

    image: np.ndarray
    need: Need
    counts: dict[Role, np.ndarray] = field(default_factory=dict)
    awaited: int = 0
    drawn: int = 0
    seconds: float = 0.0
    is_through: bool = False


class _Sample:
    """Images spread over a run's index set, drawn until their rule foretells how many draws they need, or time is up.
    `rate`: draws a second of a replica with full batches. Nothing that fails tells anything.
    """

    def __init__(self, index: int, run: Run, rate: float) -> None:
        self._index, self._run, self._rate = index, run, rate
        ids, apart = run.index_set.ids, max(1, len(run.index_set) // SAMPLE_IMAGES)
        self._waiting = deque(ids[::apart][:SAMPLE_IMAGES])
        self._ready: deque[UnitRequest] = deque()
        self._until = monotonic() + SAMPLE_SECONDS
        self._images: dict[int, _Sampled] = {}

    def next_order(self) -> UnitRequest | None:
        if monotonic() > self._until:
            return None
        while not self._ready and self._waiting:
            image_id = self._waiting.popleft()
            try:
                example = self._run.dataset.read(image_id)
            except UnreadableImage:
                continue
            if example.image.shape == self._run.image_shape:
                self._images[image_id] = _Sampled(example.image, {})
                self._ask_for(image_id, self._run.rule.first)
        return self._ready.popleft() if self._ready else None

    def take(self, outcome: UnitResult) -> None:
        unit = outcome.request.unit
        (image_id,) = unit.image_ids
        sampled = self._images.get(image_id)
        if sampled is None:
            return
        if outcome.drawn is None or outcome.drawn.invalid.any():
            del self._images[image_id]
            return
        sampled.counts[unit.role] = sampled.counts.get(unit.role, 0) + outcome.drawn.counts.sum(axis=0)
        sampled.awaited -= unit.draws
        sampled.drawn += unit.draws
        sampled.seconds += outcome.drawn.seconds
        if sampled.awaited == 0:
            need = self._run.rule.next(sampled.counts)
            sampled.is_through = need is None
            if need is not None:
                self._ask_for(image_id, need)

    def mean(self) -> tuple[float, float, int]:
        """Draws of an image, a replica's seconds for it, and of how many images these are the means. Where the time did
        not suffice for half of them, those that are through would be the easy ones: experience must do.
        """
        through = [sampled for sampled in self._images.values() if sampled.is_through]
        if 2 * len(through) < len(self._images) or not through:
            draws = self._run.draws_per_image
            return draws, draws / self._rate, 0
        usual = self._run.draws_per_image
        draws = busy = 0.0
        for sampled in self._images.values():
            asked = sum(sampled.need.values())
            needed = asked if sampled.is_through else max(asked, usual)
            draws += needed
            busy += sampled.seconds + (needed - sampled.drawn) / self._rate
        return draws / len(self._images), busy / len(self._images), len(through)

    def _ask_for(self, image_id: int, need: Need) -> None:
        sampled = self._images[image_id]
        before, sampled.need = sampled.need, need
        if self._run.rule.is_last(need):
            sampled.is_through = True
            return
        for role in sorted(need):
            more = need[role] - before.get(role, 0)
            # Streams of other blocks than the run's would do as well: nothing of this is kept.
            blocks = self._run.plan.blocks(image_id, more, -(-before.get(role, 0) // self._run.settings.block_size))
            for unit in self._run.plan.units(self._index, role, blocks):
                self._ready.append(UnitRequest(unit, {image_id: sampled.image}))
            sampled.awaited += more


def _flushes(seconds: float) -> float:
    """How many times a run of that length writes what it has."""
    steady = FLUSH_SECONDS / FLUSH_SHARE
    return 1 + min(seconds, steady) / FLUSH_SECONDS + max(0.0, log(max(seconds, steady) / steady)) / FLUSH_SHARE
