"""The ledger of one run while it is going on: which images are open, what has been counted for each, what is still to
be drawn. It holds no more than the images in flight, however large the data set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actors.draws import WorkUnit
from actors.noise import Role
from actors.refusal import Refusal
from pipeline.datasets import UnreadableImage
from pipeline.pool import Outcome
from pipeline.run import Run
from pipeline.store import CountedBlock, RunStore


@dataclass
class _Tally:
    """What one image has so far."""

    label: int | None = None
    counts: dict[Role, np.ndarray] = field(default_factory=dict)
    blocks: set[tuple[Role, int]] = field(default_factory=set)
    invalid: int = 0
    seconds: float = 0.0

    def add(self, block: CountedBlock) -> None:
        self.counts[block.role] = self.counts.get(block.role, 0) + block.counts
        self.blocks.add((block.role, block.block))
        self.invalid += block.invalid
        self.seconds += block.seconds


class Ledger:
    """Turns a run into units to draw, and their outcomes into rows.

    `finished` and `errors` count this session's rows. Error rows are held back until `conclude`: what fails in a run
    that is then stopped (a disk gone for a minute, a sick GPU) is tried again by the next session.
    """

    def __init__(self, index: int, run: Run, store: RunStore) -> None:
        self.index, self.run, self.run_id, self._store = index, run, store.run_id, store
        self.finished = 0
        self.errors: list[dict[str, Any]] = []
        self.images_left = len(run.index_set) - len(store.finished)
        self._open: dict[int, _Tally] = {}
        drawn_before = 0
        for block in store.unfinished_blocks():
            tally = self._open.setdefault(block.image_id, _Tally())
            if (block.role, block.block) in tally.blocks:
                raise Refusal(
                    f"the counts of run {store.run_id} hold block {block.block} of image {block.image_id} twice: "
                    f"move the copied part out of {store.counts_folder}"
                )
            tally.add(block)
            drawn_before += block.draws
        self.draws_left = self.images_left * run.plan.draws_per_image - drawn_before

    def units(self) -> Iterator[tuple[WorkUnit, list[np.ndarray]]]:
        """Everything that is still to be drawn, with its images."""
        for shard in self.run.plan.shards(self.run.index_set.ids):
            if all(image_id in self._store.finished for image_id in shard):
                continue
            # A unit is always composed of the same images, those with a row already among them, and blank ones for
            # those that cannot be read: what is wrong with one image must not change its neighbours' batches.
            pixels = {image_id: self._read(image_id) for image_id in shard}
            for unit in self.run.plan.units(self.index, shard):
                if self.wants(unit):
                    yield unit, [pixels[image_id] for image_id in unit.image_ids]

    def take(self, outcome: Outcome) -> None:
        """Enter a unit's outcome, and write the rows of the images that it completes."""
        unit = outcome.unit
        for place, image_id in enumerate(unit.image_ids):
            if not self._lacks(image_id, unit):
                continue
            tally = self._open[image_id]
            if outcome.drawn is None:
                self._finish_as_error(image_id, outcome.failure or "unknown")
                continue
            block = CountedBlock.of(unit, outcome.drawn, place)
            self._store.add_block(block)
            tally.add(block)
            self._finish_if_complete(image_id)
        self._store.flush_when_due()

    def conclude(self) -> None:
        """The run has come to its end: write its error rows, and make sure that every image has its row."""
        for row in self.errors:
            self._store.add_row(row)
        if self.images_left != self.finished:  # a lost row would be the worst kind of wrong answer
            raise AssertionError(f"run {self.run_id}: {self.images_left} images to do, {self.finished} rows made")

    def wants(self, unit: WorkUnit) -> bool:
        """Whether the unit still brings anything: not once all its images have their rows."""
        return any(self._lacks(image_id, unit) for image_id in unit.image_ids)

    def _lacks(self, image_id: int, unit: WorkUnit) -> bool:
        return image_id in self._open and (unit.role, unit.block) not in self._open[image_id].blocks

    def _read(self, image_id: int) -> np.ndarray:
        """The image; blank for one that cannot be drawn, whose error row is then made."""
        is_open = image_id not in self._store.finished
        if is_open:
            self._open.setdefault(image_id, _Tally())
        try:
            example = self.run.dataset.read(image_id)
        except UnreadableImage as error:
            problem: str | None = error.reason
        else:
            if is_open:
                self._open[image_id].label = example.label
            problem = self._problem(example.image.shape, example.label)
            if problem is None:
                if is_open:
                    self._finish_if_complete(image_id)  # drawn to the end by a session that was killed before its row
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

    def _finish_if_complete(self, image_id: int) -> None:
        tally = self._open[image_id]
        if len(tally.blocks) < self.run.plan.blocks_per_image:
            return
        if tally.invalid:
            draws = self.run.plan.draws_per_image
            what = "no valid answer (logits NaN or infinite, or a label outside the classes)"
            self._finish_as_error(image_id, f"{what} in {tally.invalid} of {draws} draws")
            return
        for role, draws in self.run.plan.draws.items():
            if tally.counts[role].sum() != draws:
                raise Refusal(
                    f"the stored {role.name.lower()} counts of image {image_id} add up to {tally.counts[role].sum()}, "
                    f"not {draws}: move {self._store.counts_folder} away and run the command again"
                )
        row = self.run.procedure.finished_row(
            self.run.facts, image_id, tally.label, tally.counts, self.run.noise, tally.seconds
        )
        self._store.add_row(row)
        del self._open[image_id]
        self.finished += 1

    def _finish_as_error(self, image_id: int, reason: str) -> None:
        tally = self._open.pop(image_id)
        row = self.run.procedure.error_row(self.run.facts, image_id, tally.label, reason, tally.seconds)
        self.errors.append(row)
        self._store.finished.add(image_id)
        self.finished += 1
        limit = self.run.settings.max_errors
        if len(self.errors) > limit:
            first = self.errors[0]
            raise Refusal(
                f"stopped: {len(self.errors)} images failed (--max-errors {limit}); "
                f"the first, image {first['image_id']}: {first['error']}"
            )
