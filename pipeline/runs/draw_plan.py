"""The plan of a run: its index set cut into shards, and what is drawn for a shard into work units.

The plan depends on settings and index set alone, so a run has the same units whoever draws them and however often it
is resumed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.certification.sampling_rule import Need

MOST_BATCHES = 32
"""Of a unit that is made of blocks smaller than itself."""


@dataclass(frozen=True)
class DrawPlan:
    """`first`: the first stage of a run's sampling rule, which is drawn for every image; `block_size`: the most draws
    of one block; `batch_size`: the compute batch, which a unit fills where there is enough to fill it with.
    """

    first: Need
    block_size: int
    batch_size: int

    @property
    def capacity(self) -> int:
        """The most draws that are gathered into a unit: a block, unless that is many batches. A network so slow that
        its batches are small takes long for each draw, and what little there is should be shared by all replicas.
        """
        return max(self.batch_size, min(self.block_size, MOST_BATCHES * self.batch_size))

    @property
    def shard_size(self) -> int:
        """So many images that those roles fill a unit which ask for less than a unit's draws of each."""
        return max(max(1, self.capacity // draws) for draws in self.first.values() if draws)

    def shards(self, image_ids: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(image_ids), self.shard_size):
            yield image_ids[start : start + self.shard_size]

    def blocks(self, image_id: int, draws: int, block: int = 0) -> list[Block]:
        """`draws` more draws of an image that has `block` blocks of their role already."""
        full, rest = divmod(draws, self.block_size)
        sizes = [self.block_size] * full + [rest] * (rest > 0)
        return [Block(image_id, block + place, size) for place, size in enumerate(sizes)]

    def first_units(self, run: int, shard: Sequence[int]) -> Iterator[WorkUnit]:
        """The first stage of a shard: first every image's selection, then image by image the estimation, with what
        does not fill a block at the end, together.
        """
        for role in sorted(self.first):
            blocks = [block for image_id in shard for block in self.blocks(image_id, self.first[role])]
            blocks.sort(key=lambda block: block.draws < self.block_size)
            yield from self.units(run, role, blocks)

    def units(self, run: int, role: Role, blocks: Sequence[Block]) -> Iterator[WorkUnit]:
        """`blocks` in their order, as many in a unit as it holds."""
        gathered: list[Block] = []
        draws = 0
        for block in blocks:
            if gathered and draws + block.draws > self.capacity:
                yield WorkUnit(run, role, tuple(gathered))
                gathered, draws = [], 0
            gathered.append(block)
            draws += block.draws
        if gathered:
            yield WorkUnit(run, role, tuple(gathered))
