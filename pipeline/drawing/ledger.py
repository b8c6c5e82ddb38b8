"""The ledger of one run while it is drawn: from units to counts, and from counts to rows."""

from math import ceil
from time import monotonic
from typing import Any

from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit
from raysmooth.pipeline.drawing.image_rows import ImageRows
from raysmooth.pipeline.drawing.open_images import OpenImages
from raysmooth.pipeline.drawing.unit_supply import UnitSupply, one_by_one
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.run_store import CountedBlock, RunStore


class Ledger:
    """Hands out a run's units as requests, and turns their results into rows.

    `draws_per_second` is the expected speed of all replicas, if known. `finished`, `drawn` and `errors` count this
    session's rows and draws; `began` is the time of the first request, by the monotonic clock.
    """

    def __init__(self, index: int, run: Run, store: RunStore, draws_per_second: float | None = None) -> None:
        self.index, self.run, self.run_id, self.store = index, run, store.run_id, store
        self.draws_per_second = draws_per_second
        self.drawn = 0
        self.began: float | None = None
        self.images_left = len(run.index_set) - len(store.finished)
        self._rows = ImageRows(run, store)
        self._images = OpenImages(index, run, store, self._rows)
        self._supply = UnitSupply(run.plan.shards(run.index_set.ids), self._images.open_shard, self._images.wants)
        self._drawn_before = self._images.earlier_draws

    @property
    def finished(self) -> int:
        return self._rows.finished

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self._rows.errors

    @property
    def sampling(self) -> Sampling:
        """What replicas need to know; a resumed run's manifest says which part of a batch fits their memory."""
        return self.run.sampling(self.store.manifest.get("micro_batch"))

    @property
    def draws_left(self) -> float:
        """Draws still to be made at the start: exact, or from experience where images stop early."""
        return max(0.0, self.images_left * self.run.draws_per_image - self._drawn_before)

    def expected_draws(self) -> float:
        """All draws of this session, judged by the images finished so far."""
        concluded = self._rows.concluded_draws
        if self.run.is_fixed or not concluded:
            return max(self.drawn, self.draws_left)
        left = self.images_left - self.finished
        return self.drawn + left * concluded / max(1, self.finished - len(self.errors))

    @property
    def units_left(self) -> int:
        """About how many work units are still to be drawn, including those in flight; 0 when all rows are made."""
        if self.finished == self.images_left:
            return 0
        return max(1, ceil((self.expected_draws() - self.drawn) / self.run.plan.capacity))

    def wants(self, unit: WorkUnit) -> bool:
        """Whether any block of the unit is missing."""
        return self._images.wants(unit)

    def next_request(self) -> UnitRequest | None:
        """A unit to draw now, with its images; None if there is none now. There may be one again after `record`."""
        request = self._supply.next()
        if request is not None:
            self.began = self.began or monotonic()
        return request

    def record(self, result: UnitResult) -> str | None:
        """Enter the result of a unit, write the rows of the images that it completes, and request the next round of
        others. Returns a note for the user, if there is one.
        """
        request, unit, drawn = result.request, result.request.unit, result.drawn
        if drawn is None and request.only is None and len(unit.image_ids) > 1:
            self._supply.add(one_by_one(request))
            return None
        for place, block in enumerate(unit.blocks):
            if request.only not in (None, block.image_id) or not self._images.lacks(unit.role, block):
                continue
            if drawn is None:
                self._images.fail(block.image_id, result.failure or "unknown")
                continue
            assert isinstance(drawn, UnitCounts)
            counted = CountedBlock.of(unit, drawn, place)
            self.store.add_block(counted)
            self.drawn += counted.draws
            self._supply.add(self._images.add(counted))
        if self.finished == self.images_left:  # nothing else will come that could make a flush due
            self.store.flush()
        self.store.flush_when_due()
        return self._note_memory(drawn.micro_batch) if drawn is not None else None

    def conclude(self) -> None:
        """The end of the run: write its error rows, and check that every image has its row."""
        self._rows.write_errors()
        if self.images_left != self.finished:  # a lost row would be the worst kind of wrong answer
            raise AssertionError(f"run {self.run_id}: {self.images_left} images to do, {self.finished} rows made")

    def _note_memory(self, micro_batch: int) -> str | None:
        """Enter into the manifest, once, that a device's memory is too small for a compute batch; a note of it."""
        batch_size = self.run.plan.batch_size
        if micro_batch >= self.store.manifest.get("micro_batch", batch_size):
            return None
        self.store.amend(micro_batch=micro_batch)
        return (
            f"a device's memory is too small for compute batches of {batch_size}: computed in parts of {micro_batch}, "
            "with the same noise (the manifest says so)"
        )
