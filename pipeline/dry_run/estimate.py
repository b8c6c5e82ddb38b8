"""What a run will cost, before it is started: draws, time and disk."""

from collections import deque
from dataclasses import dataclass
from math import log
from time import monotonic

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeConfig
from raysmooth.actors.replica.work_unit import UnitCounts
from raysmooth.common.errors import counted
from raysmooth.pipeline.certification.sampling_rule import Need
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.drawing.tally import Tally
from raysmooth.pipeline.dry_run.trial import Trial
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.runs.base_run import BaseRun
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.search_run import SearchRun
from raysmooth.pipeline.store.part_store import FLUSH_SECONDS, FLUSH_SHARE
from raysmooth.pipeline.store.run_store import CountedBlock

MEASURED_SECONDS = 2.0
"""How long each run draws to measure its speed."""

SAMPLE_SECONDS, SAMPLE_IMAGES = 6.0, 32
"""When images stop early depends on the image: this many, or as many as the time allows, are drawn to find out."""

_FILE_BYTES, _ROW_BYTES, _BLOCK_BYTES = 11_000, 45, 20
"""Size in Parquet of a pair of part files, a certificate, and a block of counts, measured with ten classes."""


@dataclass(frozen=True)
class Estimate:
    """One run: its unfinished `images`, the `draws` they are expected to need, the `most_draws` they can need, and the
    `busy_seconds` of one replica for them; there are `replicas` of these. `sampled` is the number of images from which
    the draws of the others were judged; None where draws are known beforehand. `guessed_from`: the draws from which the
    speed was guessed, where measuring it as the run would compute takes more than a few seconds. `tried`: what the
    speed rests on, and `where` it was tried.
    """

    run: BaseRun
    images: int
    draws: float
    most_draws: int
    sampled: int | None
    busy_seconds: float
    replicas: int
    guessed_from: int | None = None
    tried: str | None = None
    where: str = "on one replica"

    @property
    def draws_per_second(self) -> float:
        """Of all replicas."""
        return self.draws / self.seconds() if self.draws else 0.0

    def seconds(self, replicas: int | None = None) -> float:
        """Expected time of drawing, on the replicas here or on another number like them."""
        return self.busy_seconds / (replicas or self.replicas)

    @property
    def disk_bytes(self) -> float:
        """Approximate size of the run in <out>."""
        if not self.images:
            return 0.0
        run, files = self.run, _flushes(self.seconds()) * _FILE_BYTES
        if isinstance(run, SearchRun):
            return self.images * len(run.options.kept_steps) * _ROW_BYTES + files
        assert isinstance(run, Run), run
        blocks = self.images + self.draws / run.settings.block_size
        return self.images * _ROW_BYTES + blocks * _BLOCK_BYTES + files


def finished(run: BaseRun) -> Estimate:
    """The cost of a run without unfinished images."""
    return Estimate(run, 0, 0.0, 0, None, 0.0, 1)


def guessed(run: Run, left: int, guess: ComputeChoice, replicas: int, where: str) -> Estimate:
    """The cost of drawing `left` images of `run` at the speed of a `guess`, made `where` it says for one of
    `replicas`.
    """
    draws, sampled = run.draws_per_image, None if run.is_fixed else 0
    busy = left * draws / guess.draws_per_second
    tried = f"{_described(guess.compute)}, {counted(guess.guessed_from or 0, 'draw')} {where}"
    return Estimate(
        run, left, left * draws, left * run.most_draws, sampled, busy, replicas, guess.guessed_from, tried, where
    )


def measured(trial: Trial, index: int, run: BaseRun, left: int, where: str) -> Estimate:
    """The cost of drawing `left` images of `run`, which is number `index` of those that `trial` is prepared for. Draws
    for a few seconds, `where` it says, and keeps nothing.
    """
    rates = trial.ask_all("measure", index, run.image_shape, MEASURED_SECONDS)
    rate = sum(rates) / len(rates)
    draws, busy = run.draws_per_image, run.draws_per_image / rate
    sampled: int | None = None
    if isinstance(run, Run) and not run.is_fixed:
        if run.settings.block_size / rate > SAMPLE_SECONDS:
            sampled = 0  # a single block would take longer than there is time
        else:
            sample = _Sample(index, run, rate)
            for result in trial.draw(sample.next_request, lambda unit: True):
                sample.record(result)
            draws, busy, sampled = sample.mean()
    tried = f"{_described(run.compute)}, {MEASURED_SECONDS:g} s {where}"
    computed = -(-left // run.shard_size) * run.shard_size if isinstance(run, SearchRun) else left  # blank ones too
    return Estimate(
        run, left, left * draws, left * run.most_draws, sampled, computed * busy, len(rates), tried=tried, where=where
    )


def _described(compute: ComputeConfig | None) -> str:
    assert compute is not None, "it is chosen"
    return f"{compute.precision}, batches of {compute.batch_size}{', compiled' if compute.compiled else ''}"


@dataclass
class _SampledImage:
    """`need`: the draws it is known to need, all of them once `is_known`."""

    tally: Tally
    need: Need
    is_known: bool = False

    @property
    def draws(self) -> int:
        """Of the finished rounds."""
        return sum(self.tally.draws.values())


class _Sample:
    """Images spread over a run's index set, drawn round by round until their sampling rule says how many draws they
    need, or time is up. Images that fail are left out. `rate`: draws per second of a replica with full batches.
    """

    def __init__(self, index: int, run: Run, rate: float) -> None:
        self._index, self._run, self._rate = index, run, rate
        ids, apart = run.index_set.ids, max(1, len(run.index_set) // SAMPLE_IMAGES)
        self._waiting = deque(ids[::apart][:SAMPLE_IMAGES])
        self._ready: deque[UnitRequest] = deque()
        self._until = monotonic() + SAMPLE_SECONDS
        self._images: dict[int, _SampledImage] = {}

    def next_request(self) -> UnitRequest | None:
        if monotonic() > self._until:
            return None
        while not self._ready and self._waiting:
            image_id = self._waiting.popleft()
            try:
                example = self._run.images.read(image_id)
            except UnreadableImage:
                continue
            if self._run.problem_with(example) is None:
                self._images[image_id] = _SampledImage(Tally(example.image), {})
                self._request(image_id, self._run.rule.first)
        return self._ready.popleft() if self._ready else None

    def record(self, result: UnitResult) -> None:
        unit, drawn = result.request.unit, result.drawn
        (image_id,) = unit.image_ids
        if image_id not in self._images:
            return
        if not isinstance(drawn, UnitCounts) or drawn.invalid.any():
            del self._images[image_id]
            return
        sampled = self._images[image_id]
        for place in range(len(unit.blocks)):
            sampled.tally.add(CountedBlock.of(unit, drawn, place))
        if sampled.tally.round_is_complete:
            need = sampled.tally.next_need(self._run.rule)
            if need is None:
                sampled.is_known = True
            else:
                self._request(image_id, need)

    def mean(self) -> tuple[float, float, int]:
        """Draws of an image, a replica's seconds for it, and the number of images averaged. That number
        is 0, and the means are from experience, if fewer than half the images became known in time: those would be
        the easy ones.
        """
        known = sum(sampled.is_known for sampled in self._images.values())
        usual = self._run.draws_per_image
        if not known or 2 * known < len(self._images):
            return usual, usual / self._rate, 0
        draws = busy = 0.0
        for sampled in self._images.values():
            requested = sum(sampled.need.values())
            needed = requested if sampled.is_known else max(requested, usual)
            draws += needed
            busy += sampled.tally.seconds + (needed - sampled.draws) / self._rate
        return draws / len(self._images), busy / len(self._images), known

    def _request(self, image_id: int, need: Need) -> None:
        """Draw the image's next round, unless that is certain to be its last: then its draws are known."""
        sampled, plan = self._images[image_id], self._run.plan
        sampled.need = need
        if self._run.rule.is_last(need):
            sampled.is_known = True
            return
        opened = sampled.tally.open_round(image_id, need, plan)
        self._ready += sampled.tally.requests(image_id, opened, self._index, plan)


def _flushes(seconds: float) -> float:
    """How often a run of that length writes its part files."""
    steady = FLUSH_SECONDS / FLUSH_SHARE
    return 1 + min(seconds, steady) / FLUSH_SECONDS + max(0.0, log(max(seconds, steady) / steady)) / FLUSH_SHARE
