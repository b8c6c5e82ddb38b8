"""What the ledgers of all kinds of runs have in common: units are handed out, and their results are entered."""

from abc import ABC, abstractmethod
from time import monotonic
from typing import Any

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.drawing.draw_store import DrawStore
from raysmooth.pipeline.drawing.unit_supply import UnitSupply, one_by_one
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.runs.base_run import BaseRun


class BaseLedger(ABC):
    """Hands out the units of run number `index` of a pool as requests, and turns their results into rows.

    `draws_per_second` is the expected speed of all replicas, if known. `finished`, `drawn` and `errors` count this
    session's images and draws; `began` is the time of the first request, by the monotonic clock. A subclass has a
    `supply`, and says what becomes of a unit's results.
    """

    supply: UnitSupply

    def __init__(self, index: int, run: BaseRun, store: DrawStore, draws_per_second: float | None = None) -> None:
        self.index, self.run, self.run_id, self.store = index, run, store.run_id, store
        self.draws_per_second = draws_per_second
        self.drawn = 0
        self.began: float | None = None
        self.images_left = len(run.index_set) - len(store.finished)

    @property
    @abstractmethod
    def finished(self) -> int:
        """Images with a row."""

    @property
    @abstractmethod
    def errors(self) -> list[dict[str, Any]]:
        """Error rows, which are written by `conclude`: if the run stops before, their images are tried again by the
        next session, since the cause (a disk gone for a minute, a faulty GPU) may be gone by then.
        """

    @property
    def sampling(self) -> Sampling:
        """What replicas need to know; a resumed run's manifest says which part of a batch fits their memory."""
        return self.run.sampling(self.store.manifest.get("micro_batch"))

    @abstractmethod
    def expected_draws(self) -> float:
        """All draws of this session, judged by the images finished so far."""

    @property
    @abstractmethod
    def units_left(self) -> int:
        """About how many work units are still to be drawn, including those in flight; 0 when all rows are made."""

    def wants(self, unit: WorkUnit) -> bool:
        """Whether any block of the unit is missing."""
        return any(self._lacks(unit.role, block) for block in unit.blocks)

    def next_request(self) -> UnitRequest | None:
        """A unit to draw now, with its images; None if there is none now. There may be one again after `record`."""
        request = self.supply.next()
        if request is not None:
            self.began = self.began or monotonic()
        return request

    def record(self, result: UnitResult) -> str | None:
        """Enter the result of a unit, write the rows of the images that it completes, and request the next round of
        others. Returns a note for the user, if there is one.
        """
        request, unit, drawn = result.request, result.request.unit, result.drawn
        if drawn is None and request.only is None and len(unit.image_ids) > 1:
            self.supply.add(one_by_one(request))
            return None
        for place, block in enumerate(unit.blocks):
            if request.only in (None, block.image_id) and self._lacks(unit.role, block):
                self._enter(result, place)
        if self.finished == self.images_left:  # nothing else will come that could make a flush due
            self.store.flush()
        self.store.flush_when_due()
        return self._note_memory(drawn.micro_batch) if drawn is not None else None

    def conclude(self) -> None:
        """The end of the run: write its error rows, and check that every image has its row."""
        self._write_errors()
        if self.images_left != self.finished:  # a lost row would be the worst kind of wrong answer
            raise AssertionError(f"run {self.run_id}: {self.images_left} images to do, {self.finished} rows made")

    @abstractmethod
    def _lacks(self, role: Role, block: Block) -> bool:
        """Whether the block is wanted and has not arrived."""

    @abstractmethod
    def _enter(self, result: UnitResult, place: int) -> None:
        """Enter the result, or the failure, of number `place` of a unit's blocks."""

    @abstractmethod
    def _write_errors(self) -> None:
        """Write the error rows."""

    def _note_memory(self, micro_batch: int) -> str | None:
        """Enter into the manifest, once, that a device's memory is too small for a compute batch; a note of it."""
        assert self.run.compute is not None, "it is chosen"
        batch_size = self.run.compute.batch_size
        if micro_batch >= self.store.manifest.get("micro_batch", batch_size):
            return None
        self.store.amend(micro_batch=micro_batch)
        return (
            f"a device's memory is too small for compute batches of {batch_size}: computed in parts of {micro_batch}, "
            "with the same noise (the manifest says so)"
        )
