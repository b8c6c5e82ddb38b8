"""The images that a run is drawing: each is read, drawn round by round, and closed with its row.

Memory is held only for these images, however large the data set.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.drawing.draw_store import CountStore
from raysmooth.pipeline.drawing.image_rows import ImageRows
from raysmooth.pipeline.drawing.tally import CorruptCounts, Tally
from raysmooth.pipeline.pool.tasks import UnitRequest
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.run_store import CountedBlock


class ImageState(Enum):
    """WAITING: not read yet. DRAWING: read, with a tally and an open round. FINISHED: has its row, from this session or
    an earlier one. Images only move forward; one that cannot be drawn goes from WAITING to FINISHED.
    """

    WAITING = "waiting"
    DRAWING = "drawing"
    FINISHED = "finished"


class ShardRequests(NamedTuple):
    """The requests that opening a shard produces: its `first_round` and, of a resumed run, later rounds that are
    `due`.
    """

    first_round: list[UnitRequest]
    due: list[UnitRequest]


class OpenImages:
    """Moves the images of run number `index` of a pool from state to state. Methods that open a round return the
    requests for its units; `rows` gets the images that are finished.
    """

    def __init__(self, index: int, run: Run, store: CountStore, rows: ImageRows) -> None:
        self._index, self._run, self._store, self._rows = index, run, store, rows
        self._tallies: dict[int, Tally] = {}
        self._earlier_blocks = _earlier_blocks(store)

    @property
    def earlier_draws(self) -> int:
        """Draws of earlier sessions for images that this session has not opened yet."""
        return sum(block.draws for blocks in self._earlier_blocks.values() for block in blocks)

    def state_of(self, image_id: int) -> ImageState:
        if image_id in self._store.finished:
            return ImageState.FINISHED
        return ImageState.DRAWING if image_id in self._tallies else ImageState.WAITING

    def wants(self, unit: WorkUnit) -> bool:
        """Whether any block of the unit is missing."""
        return any(self.lacks(unit.role, block) for block in unit.blocks)

    def lacks(self, role: Role, block: Block) -> bool:
        """Whether the block is part of an open round and has not arrived."""
        tally = self._tallies.get(block.image_id)
        return tally is not None and tally.lacks((role, block.index))

    def open_shard(self, shard: Sequence[int]) -> ShardRequests:
        """Open the WAITING images of `shard`. Raises RaysmoothError if one was altered since its fingerprint was taken,
        a FINISHED one too, which is part of its neighbours' batches.
        """
        if all(self.state_of(image_id) is ImageState.FINISHED for image_id in shard):
            return ShardRequests([], [])
        # A unit always has the same images, including finished ones, and blank ones in place of bad ones: neither
        # resuming nor a neighbour's fault may change the batches that an image is computed in.
        pixels, due = {}, []
        for image_id in shard:
            pixels[image_id], later = self._open(image_id)
            due += later
        first_round = [
            UnitRequest(unit, {image_id: pixels[image_id] for image_id in unit.image_ids})
            for unit in self._run.plan.first_units(self._index, shard)
        ]
        return ShardRequests(first_round, due)

    def add(self, block: CountedBlock) -> list[UnitRequest]:
        """Enter a block of a DRAWING image; its next round, if the block completes one."""
        self._tallies[block.image_id].add(block)
        return self._advance(block.image_id)

    def fail(self, image_id: int, reason: str) -> None:
        """An error row for a DRAWING image."""
        self._rows.fail(image_id, self._tallies.pop(image_id), reason)

    def _open(self, image_id: int) -> tuple[np.ndarray, list[UnitRequest]]:
        """The image's pixels, blank if it cannot be drawn, and its requests if it is past its first round already. A
        WAITING image is opened, with its blocks of earlier sessions.
        """
        tally, pixels, problem = Tally(), np.zeros(self._run.image_shape, np.float32), None
        try:
            example = self._run.images.read(image_id)
        except UnreadableImage as error:
            problem, tally.label = error.reason, self._label_of(image_id)
        else:
            tally.image, tally.label = example.image, example.label
            problem = self._run.problem_with(example) or self._run.level_problem(image_id)
            pixels = example.image if problem is None else pixels
        if self.state_of(image_id) is ImageState.FINISHED:
            return pixels, []
        tally.file = self._run.dataset.place(image_id)
        if problem is not None:
            self._rows.fail(image_id, tally, problem)
            return pixels, []
        self._tallies[image_id] = tally
        tally.open_round(image_id, self._run.rule.first, self._run.plan)
        for block in self._earlier_blocks.pop(image_id, []):
            tally.add(block)
        return pixels, self._advance(image_id)

    def _label_of(self, image_id: int) -> int | None:
        """The label of an image that cannot be read, where that is kept elsewhere, as in a folder's name."""
        try:
            return self._run.dataset.labels()[image_id]
        except RaysmoothError:
            return None

    def _advance(self, image_id: int) -> list[UnitRequest]:
        """Finish each complete round of a DRAWING image. It moves to FINISHED, or to a next round, whose requests are
        returned; a resumed run may have all blocks of that one, too.
        """
        tally, opened = self._tallies[image_id], {}
        while tally.round_is_complete:
            try:
                need = tally.next_need(self._run.rule)
            except CorruptCounts as corrupt:
                raise RaysmoothError(
                    f"the stored counts of {named_image(image_id, tally.file)} hold {corrupt}: "
                    f"move {self._store.counts_folder} away and run the command again"
                ) from None
            if need is None:
                self._rows.conclude(image_id, self._tallies.pop(image_id))
                return []
            opened = tally.open_round(image_id, need, self._run.plan)
        return tally.requests(image_id, opened, self._index, self._run.plan)


def _earlier_blocks(store: CountStore) -> dict[int, list[CountedBlock]]:
    """The blocks that earlier sessions drew for unfinished images, by image. Raises RaysmoothError for a duplicate."""
    found: dict[int, list[CountedBlock]] = {}
    for block in store.unfinished_blocks():
        blocks = found.setdefault(block.image_id, [])
        if any((other.role, other.block) == (block.role, block.block) for other in blocks):
            raise RaysmoothError(
                f"the counts of run {store.run_id} hold block {block.block} of image {block.image_id} twice: "
                f"move the copied part out of {store.counts_folder}"
            )
        blocks.append(block)
    return found
