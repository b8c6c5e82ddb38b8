"""The ledger of one run while it is going on: which images are open, what has been counted for each, what is still to
be drawn. It holds no more than the images in flight, however large the data set.
"""

from collections import deque
from collections.abc import Iterator
from math import ceil
from time import monotonic
from typing import Any

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.replica import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.sampling_rule import Need
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.tally import Tally, Torn
from raysmooth.pipeline.store.run_store import CountedBlock, RunStore


class Ledger:
    """Turns a run into units to draw, and their outcomes into rows.

    `draws_per_second` is what is expected of all replicas, where that is known. `finished`, `drawn` and `errors` count
    this session's rows and draws; `began` is when it gave its first order, by the monotonic clock. Error rows are held
    back until `conclude`: what fails in a run that is then stopped (a disk gone for a minute, a sick GPU) is tried
    again by the next session.
    """

    def __init__(self, index: int, run: Run, store: RunStore, draws_per_second: float | None = None) -> None:
        self.index, self.run, self.run_id, self._store = index, run, store.run_id, store
        self.draws_per_second = draws_per_second
        self.finished = 0
        self.drawn = 0
        self.began: float | None = None
        self.errors: list[dict[str, Any]] = []
        self.images_left = len(run.index_set) - len(store.finished)
        self._open: dict[int, Tally] = {}
        self._ready: deque[UnitRequest] = deque()
        self._first = self._first_orders()
        self._settled = 0
        self._before: dict[int, list[CountedBlock]] = {}
        self._drawn_before = 0
        for block in store.unfinished_blocks():
            blocks = self._before.setdefault(block.image_id, [])
            if any((other.role, other.block) == (block.role, block.block) for other in blocks):
                raise RaysmoothError(
                    f"the counts of run {store.run_id} hold block {block.block} of image {block.image_id} twice: "
                    f"move the copied part out of {store.counts_folder}"
                )
            blocks.append(block)
            self._drawn_before += block.draws

    @property
    def store(self) -> RunStore:
        """The run's files."""
        return self._store

    @property
    def sampling(self) -> Sampling:
        """What replicas must know; from its manifest, a resumed run has how much fits their memory."""
        return self.run.sampling(self._store.manifest.get("micro_batch"))

    @property
    def draws_left(self) -> float:
        """How many draws are still to be made, exactly or, where images stop early, by what they needed so far."""
        return max(0.0, self.images_left * self.run.draws_per_image - self._drawn_before)

    def expected_draws(self) -> float:
        """All draws of this session, by what the images that are finished have needed."""
        if self.run.is_fixed or not self._settled:
            return max(self.drawn, self.draws_left)
        left = self.images_left - self.finished
        return self.drawn + left * self._settled / max(1, self.finished - len(self.errors))

    @property
    def units_left(self) -> int:
        """About how many work units are still to be drawn, those in flight among them; 0 when all rows are there."""
        if self.finished == self.images_left:
            return 0
        return max(1, ceil((self.expected_draws() - self.drawn) / self.run.plan.capacity))

    def next_order(self) -> UnitRequest | None:
        """A unit to be drawn now, with its images; None if there is none now. There may be one again after `take`."""
        while True:
            while self._ready:
                order = self._ready.popleft()
                if self.wants(order.unit):
                    self.began = self.began or monotonic()
                    return order
            first = next(self._first, None)  # which may find images whose next stage is due
            if first is not None:
                self.began = self.began or monotonic()
            if first is not None or not self._ready:
                return first

    def take(self, outcome: UnitResult) -> str | None:
        """Enter a unit's outcome; write the rows of the images that it completes, or order their next stage. What a
        person watching should know of it, if anything.
        """
        order, unit = outcome.request, outcome.request.unit
        if outcome.drawn is None and order.only is None and len(unit.image_ids) > 1:
            self._ready.extend(self._one_by_one(order))
            return None
        for place, block in enumerate(unit.blocks):
            if order.only not in (None, block.image_id) or not self._lacks(unit.role, block):
                continue
            if outcome.drawn is None:
                self._finish_as_error(block.image_id, outcome.failure or "unknown")
                continue
            counted = CountedBlock.of(unit, outcome.drawn, place)
            self._store.add_block(counted)
            self.drawn += block.draws
            tally = self._open[block.image_id]
            tally.arrived[unit.role, block.index] = counted
            if tally.is_complete:
                self._go_on(block.image_id)
        if self.finished == self.images_left:  # nothing more comes that would make it due
            self._store.flush()
        self._store.flush_when_due()
        return self._shrunk(outcome.drawn.micro_batch) if outcome.drawn is not None else None

    def conclude(self) -> None:
        """The run has come to its end: write its error rows, and make sure that every image has its row."""
        for row in self.errors:
            self._store.add_row(row)
        if self.images_left != self.finished:  # a lost row would be the worst kind of wrong answer
            raise AssertionError(f"run {self.run_id}: {self.images_left} images to do, {self.finished} rows made")

    def wants(self, unit: WorkUnit) -> bool:
        """Whether the unit still brings anything: not once all its images have their rows."""
        return any(self._lacks(unit.role, block) for block in unit.blocks)

    def _lacks(self, role: Role, block: Block) -> bool:
        tally, key = self._open.get(block.image_id), (role, block.index)
        return tally is not None and key in tally.awaited and key not in tally.arrived

    def _first_orders(self) -> Iterator[UnitRequest]:
        """The first stage of every image, shard by shard."""
        plan, rule = self.run.plan, self.run.rule
        for shard in plan.shards(self.run.index_set.ids):
            if all(image_id in self._store.finished for image_id in shard):
                continue
            # A unit is always composed of the same images, those with a row already among them, and blank ones for
            # those that cannot be read: what is wrong with one image must not change its neighbours' batches.
            pixels = {image_id: self._read(image_id, rule.first) for image_id in shard}
            for unit in plan.first_units(self.index, shard):
                if self.wants(unit):
                    yield UnitRequest(unit, {image_id: pixels[image_id] for image_id in unit.image_ids})

    def _one_by_one(self, order: UnitRequest) -> Iterator[UnitRequest]:
        """A failed unit once more for each of its images, in its place among blank ones: only who fails then is to
        blame.
        """
        for image_id in order.unit.image_ids:
            blank = {other: np.zeros_like(image) for other, image in order.images.items()}
            yield UnitRequest(order.unit, {**blank, image_id: order.images[image_id]}, only=image_id)

    def _go_on(self, image_id: int) -> None:
        """The image's stage is complete: its row, or its next stage (of which a resumed run may have all)."""
        tally, plan = self._open[image_id], self.run.plan
        while tally.is_complete:
            try:
                tally.close_stage()
            except Torn as torn:
                raise RaysmoothError(
                    f"the stored counts of image {image_id} hold {torn}: "
                    f"move {self._store.counts_folder} away and run the command again"
                ) from None
            need = None if tally.invalid else self.run.rule.next(tally.counts)
            if need is None:
                self._finish(image_id)
                return
            stage = self._await_stage(image_id, need)
        assert tally.image is not None, "an open image has its pixels"
        for role, blocks in stage.items():
            for unit in plan.units(self.index, role, blocks):
                if self.wants(unit):
                    self._ready.append(UnitRequest(unit, {image_id: tally.image}))

    def _await_stage(self, image_id: int, need: Need) -> dict[Role, list[Block]]:
        """Await what `need` asks for beyond what the image has."""
        tally, stage = self._open[image_id], {}
        for role in sorted(need):
            more = need[role] - tally.draws.get(role, 0)
            if more > 0:
                stage[role] = self.run.plan.blocks(image_id, more, tally.blocks.get(role, 0))
                tally.await_(role, stage[role])
        if not stage:
            raise AssertionError(f"image {image_id}: a stage without draws")
        return stage

    def _read(self, image_id: int, first: Need) -> np.ndarray:
        """The image; blank for one that cannot be drawn, whose error row is then made."""
        is_open = image_id not in self._store.finished
        if is_open:
            tally = self._open[image_id] = Tally()
            tally.arrived = {(block.role, block.block): block for block in self._before.pop(image_id, [])}
            self._await_stage(image_id, first)
        try:
            example = self.run.dataset.read(image_id)
        except UnreadableImage as error:
            problem: str | None = error.reason
        else:
            if is_open:
                tally.image, tally.label = example.image, example.label
            problem = self._problem(example.image.shape, example.label)
            if problem is None:
                if is_open and tally.is_complete:
                    self._go_on(image_id)  # by a session that was killed before the row, or in a later stage
                return example.image
        if is_open and problem is not None:
            self._finish_as_error(image_id, problem)
        return np.zeros(self.run.image_shape, np.float32)

    def _problem(self, shape: tuple[int, ...], label: int | None) -> str | None:
        if shape != self.run.image_shape:
            return f"image of shape {shape}, unlike the first's {self.run.image_shape}: use --resize and --crop"
        if label is not None and not 0 <= label < self.run.num_classes:
            return f"label {label} is outside the classifier's classes 0..{self.run.num_classes - 1}"
        return None

    def _shrunk(self, micro_batch: int) -> str | None:
        """Enter into the manifest that a device's memory did not hold a compute batch."""
        batch_size = self.run.plan.batch_size
        if micro_batch >= self._store.manifest.get("micro_batch", batch_size):
            return None
        self._store.amend(micro_batch=micro_batch)
        return (
            f"a device's memory is too small for compute batches of {batch_size}: computed in parts of {micro_batch}, "
            "with the same noise (the manifest says so)"
        )

    def _finish(self, image_id: int) -> None:
        tally = self._open[image_id]
        if tally.invalid:
            what = "no valid answer (logits NaN or infinite, or a label outside the classes)"
            draws = sum(tally.draws.values())
            self._finish_as_error(image_id, f"{what} in {tally.invalid} of {draws} draws")
            return
        concluded = self.run.rule.conclude(tally.counts)
        row = self.run.procedure.finished_row(
            self.run.facts, image_id, tally.label, tally.counts, concluded, tally.seconds
        )
        self._store.add_row(row)
        del self._open[image_id]
        self.finished += 1
        self._settled += row["draws"]

    def _finish_as_error(self, image_id: int, reason: str) -> None:
        tally = self._open.pop(image_id)
        row = self.run.procedure.error_row(self.run.facts, image_id, tally.label, reason, tally.seconds)
        self.errors.append(row)
        self._store.finished.add(image_id)
        self.finished += 1
        limit = self.run.settings.max_errors
        if len(self.errors) > limit:
            first = self.errors[0]
            raise RaysmoothError(
                f"stopped: {len(self.errors)} images failed (--max-errors {limit}); "
                f"the first, image {first['image_id']}: {first['error']}"
            )
