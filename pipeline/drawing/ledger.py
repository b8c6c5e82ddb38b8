"""The ledger of a run that counts labels while it is drawn: from units to counts, and from counts to rows."""

from math import ceil
from typing import Any

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, UnitCounts
from raysmooth.pipeline.drawing.base_ledger import BaseLedger
from raysmooth.pipeline.drawing.draw_store import CountStore
from raysmooth.pipeline.drawing.image_rows import ImageRows
from raysmooth.pipeline.drawing.open_images import OpenImages
from raysmooth.pipeline.drawing.unit_supply import UnitSupply
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.run_store import CountedBlock


class Ledger(BaseLedger):
    """The ledger of a `Run`, in the store of its counts and rows."""

    run: Run
    store: CountStore

    def __init__(self, index: int, run: Run, store: CountStore, draws_per_second: float | None = None) -> None:
        super().__init__(index, run, store, draws_per_second)
        self._rows = ImageRows(run, store)
        self._images = OpenImages(index, run, store, self._rows)
        self.supply = UnitSupply(run.plan.shards(run.index_set.ids), self._images.open_shard, self._images.wants)
        self._drawn_before = self._images.earlier_draws

    @property
    def finished(self) -> int:
        return self._rows.finished

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self._rows.errors

    @property
    def draws_left(self) -> float:
        """Draws still to be made at the start: exact, or from experience where images stop early."""
        return max(0.0, self.images_left * self.run.draws_per_image - self._drawn_before)

    def expected_draws(self) -> float:
        concluded = self._rows.concluded_draws
        if self.run.is_fixed or not concluded:
            return max(self.drawn, self.draws_left)
        left = self.images_left - self.finished
        return self.drawn + left * concluded / max(1, self.finished - len(self.errors))

    @property
    def units_left(self) -> int:
        if self.finished == self.images_left:
            return 0
        return max(1, ceil((self.expected_draws() - self.drawn) / self.run.plan.capacity))

    def _lacks(self, role: Role, block: Block) -> bool:
        return self._images.lacks(role, block)

    def _enter(self, result: UnitResult, place: int) -> None:
        unit, drawn = result.request.unit, result.drawn
        if drawn is None:
            self._images.fail(unit.blocks[place].image_id, result.failure or "unknown")
            return
        assert isinstance(drawn, UnitCounts)
        counted = CountedBlock.of(unit, drawn, place)
        self.store.add_block(counted)
        self.drawn += counted.draws
        self.supply.add(self._images.add(counted))

    def _write_errors(self) -> None:
        self._rows.write_errors()
