"""The tally of one image: stage by stage, what is awaited of it and what has come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block
from raysmooth.pipeline.store.run_store import CountedBlock

BlockKey = tuple[Role, int]


@dataclass
class Tally:
    """What one image has so far. `counts`, `draws` and `blocks` are of the stages that are complete; `awaited` are the
    blocks of the stage that is going on, `arrived` what has come in of them or, by a resumed run, beyond them.
    """

    image: np.ndarray | None = None
    label: int | None = None
    counts: dict[Role, np.ndarray] = field(default_factory=dict)
    draws: dict[Role, int] = field(default_factory=dict)
    blocks: dict[Role, int] = field(default_factory=dict)
    awaited: dict[BlockKey, int] = field(default_factory=dict)
    arrived: dict[BlockKey, CountedBlock] = field(default_factory=dict)
    invalid: int = 0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether the stage is."""
        return all(key in self.arrived for key in self.awaited)

    def await_(self, role: Role, blocks: Sequence[Block]) -> None:
        self.awaited.update({(role, block.index): block.draws for block in blocks})

    def close_stage(self) -> None:
        """Add up what was awaited; blocks beyond are left for the next stage."""
        for key, draws in self.awaited.items():
            block = self.arrived.pop(key)
            if block.draws != draws:
                raise Torn(f"block {block.block} of {block.draws} {block.role.name.lower()} draws, not {draws}")
            if block.counts.sum() + block.invalid != draws:
                raise Torn(f"{block.counts.sum() + block.invalid} labels of block {block.block}, not {draws}")
            role = block.role
            self.counts[role] = self.counts.get(role, 0) + block.counts
            self.draws[role] = self.draws.get(role, 0) + draws
            self.blocks[role] = self.blocks.get(role, 0) + 1
            self.invalid += block.invalid
            self.seconds += block.seconds
        self.awaited = {}


class Torn(Exception):
    """Stored counts that are not what this run draws."""
