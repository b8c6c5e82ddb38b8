"""The tally of one image: round by round, the blocks it awaits and the blocks that have arrived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block
from raysmooth.pipeline.certification.sampling_rule import Need, SamplingRule
from raysmooth.pipeline.pool.tasks import UnitRequest
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.store.run_store import CountedBlock

BlockKey = tuple[Role, int]
"""Which block of an image: its role, and its number within the role."""


@dataclass
class Tally:
    """The draws of one image that is being drawn: its current round, and all rounds before.

    `file` is the image's place in the data set. `counts`, `draws`, `blocks`, `invalid` and `seconds` add up the
    finished rounds. `awaited` are the blocks of the current round with their numbers of draws. `arrived` are the blocks
    that have come in for it; a resumed run also finds blocks of later rounds there. A round is complete once each
    awaited block has arrived; `next_need` finishes it, and `open_round` begins another.
    """

    image: np.ndarray | None = None
    label: int | None = None
    file: str | None = None
    counts: dict[Role, np.ndarray] = field(default_factory=dict)
    draws: dict[Role, int] = field(default_factory=dict)
    blocks: dict[Role, int] = field(default_factory=dict)
    awaited: dict[BlockKey, int] = field(default_factory=dict)
    arrived: dict[BlockKey, CountedBlock] = field(default_factory=dict)
    invalid: int = 0
    seconds: float = 0.0

    @property
    def round_is_complete(self) -> bool:
        return all(key in self.arrived for key in self.awaited)

    def lacks(self, key: BlockKey) -> bool:
        """Whether the block is part of the current round and has not arrived."""
        return key in self.awaited and key not in self.arrived

    def add(self, block: CountedBlock) -> None:
        self.arrived[block.role, block.block] = block

    def open_round(self, image_id: int, need: Need, plan: DrawPlan) -> dict[Role, list[Block]]:
        """Await the draws that `need` asks for beyond those of the finished rounds: their blocks, by role."""
        opened: dict[Role, list[Block]] = {}
        for role in sorted(need):
            more = need[role] - self.draws.get(role, 0)
            if more > 0:
                opened[role] = plan.blocks(image_id, more, self.blocks.get(role, 0))
                self.awaited.update({(role, block.index): block.draws for block in opened[role]})
        if not opened:
            raise AssertionError(f"image {image_id}: a round without draws")
        return opened

    def requests(
        self, image_id: int, opened: Mapping[Role, Sequence[Block]], index: int, plan: DrawPlan
    ) -> list[UnitRequest]:
        """Requests for the units of an open round, each for this image alone; `index` is the run's in its pool."""
        assert self.image is not None, "an image that is being drawn has its pixels"
        images = {image_id: self.image}
        return [UnitRequest(unit, images) for role in opened for unit in plan.units(index, role, opened[role])]

    def next_need(self, rule: SamplingRule) -> Need | None:
        """Finish the complete round: the draws that `rule` asks for next, None if it needs no more. An image with
        invalid draws gets no more either. Raises CorruptCounts.
        """
        for key, draws in self.awaited.items():
            self._add_up(self.arrived.pop(key), draws)
        self.awaited = {}
        return None if self.invalid else rule.next(self.counts)

    def _add_up(self, block: CountedBlock, draws: int) -> None:
        role, answers = block.role, block.counts.sum() + block.invalid
        if block.draws != draws:
            raise CorruptCounts(f"block {block.block} of {block.draws} {role.name.lower()} draws, not {draws}")
        if answers != draws:
            raise CorruptCounts(f"{answers} labels of block {block.block}, not {draws}")
        self.counts[role] = self.counts.get(role, 0) + block.counts
        self.draws[role] = self.draws.get(role, 0) + draws
        self.blocks[role] = self.blocks.get(role, 0) + 1
        self.invalid += block.invalid
        self.seconds += block.seconds


class CorruptCounts(Exception):
    """Stored counts that this run cannot have drawn."""
