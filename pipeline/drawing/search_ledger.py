"""The ledger of a search for noise levels: from units to the levels of their images, and to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, UnitSigmas
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.drawing.base_ledger import BaseLedger
from raysmooth.pipeline.drawing.max_errors import refuse_many
from raysmooth.pipeline.drawing.open_images import ShardRequests
from raysmooth.pipeline.drawing.unit_supply import UnitSupply
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.runs.search_run import SearchRun
from raysmooth.pipeline.store.search_store import SearchStore


@dataclass(frozen=True)
class _Searched:
    """An image whose level is being sought: its label and its place in the data set."""

    label: int | None
    file: str | None


class SearchLedger(BaseLedger):
    """The ledger of a `SearchRun`. An image is in one unit, and is finished with it; a unit that is lost in a kill is
    computed again whole, with images that have rows in their places.
    """

    run: SearchRun
    store: SearchStore

    def __init__(self, index: int, run: SearchRun, store: SearchStore, draws_per_second: float | None = None) -> None:
        super().__init__(index, run, store, draws_per_second)
        self._open: dict[int, _Searched] = {}
        self._finished = 0
        self._errors: list[dict[str, Any]] = []
        self.supply = UnitSupply(run.shards(), self._open_shard, self.wants)

    @property
    def finished(self) -> int:
        return self._finished

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self._errors

    def expected_draws(self) -> float:
        return max(self.drawn, self.images_left * self.run.draws_per_image)

    @property
    def units_left(self) -> int:
        return -(-(self.images_left - self.finished) // self.run.shard_size)

    def _open_shard(self, shard: Sequence[int]) -> ShardRequests:
        if self.store.finished.issuperset(shard):
            return ShardRequests([], [])
        # As in a run that counts: finished images too, and blank ones in place of bad ones, keep their neighbours'
        # batches as they are. Reading an image checks that it has not changed.
        pixels = {image_id: self._opened(image_id) for image_id in shard}
        return ShardRequests([UnitRequest(self.run.unit(self.index, shard), pixels)], [])

    def _opened(self, image_id: int) -> np.ndarray:
        """The image's pixels, blank if it cannot be searched, which gives it its error."""
        label, problem = None, None
        pixels = np.zeros(self.run.image_shape, np.float32)
        try:
            example = self.run.images.read(image_id)
        except UnreadableImage as error:
            label, problem = self._label_of(image_id), error.reason
        else:
            label, problem = example.label, self.run.problem_with(example)
            pixels = example.image if problem is None else pixels
        if image_id not in self.store.finished:
            self._open[image_id] = _Searched(label, self.run.dataset.place(image_id))
            if problem is not None:
                self._fail(image_id, problem)
        return pixels

    def _label_of(self, image_id: int) -> int | None:
        """The label of an image that cannot be read, where that is kept elsewhere, as in a folder's name."""
        try:
            return self.run.dataset.labels()[image_id]
        except RaysmoothError:
            return None

    def _lacks(self, role: Role, block: Block) -> bool:
        return block.image_id in self._open

    def _enter(self, result: UnitResult, place: int) -> None:
        image_id, found = result.request.unit.blocks[place].image_id, result.drawn
        if found is None:
            self._fail(image_id, result.failure or "unknown")
            return
        assert isinstance(found, UnitSigmas)
        self.drawn += self.run.draws_per_image
        if (reason := found.failed[place]) is not None:
            self._fail(image_id, reason, found.seconds / len(found.failed))
            return
        image = self._open.pop(image_id)
        procedure, steps = self.run.procedure, self.run.options.kept_steps
        self.store.add_image(
            procedure.found_rows(self.run.facts, steps, image_id, image.label, image.file, found, place)
        )
        self._finished += 1

    def _fail(self, image_id: int, reason: str, seconds: float = 0.0) -> None:
        """An error row; raises RaysmoothError if there are more of them than the run may have."""
        image = self._open.pop(image_id)
        row = self.run.procedure.error_row(self.run.facts, image_id, image.label, image.file, reason, seconds)
        self._errors.append(row)
        self.store.finished.add(image_id)
        self._finished += 1
        refuse_many(self._errors, self.run.settings.max_errors)

    def _write_errors(self) -> None:
        for row in self._errors:
            self.store.add_image([row])
