"""The plan of a run: its index set is cut into shards, and the draws of a shard into work units.

The plan depends on settings and index set alone, so a run has the same units whichever replicas draw them and however
often it is resumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.certification.sampling_rule import Need

MOST_BATCHES = 32
"""The most compute batches in a unit that gathers several blocks."""


@dataclass(frozen=True)
class DrawPlan:
    """`first`: the first round of the run's sampling rule, the same for every image; `block_size`: the most draws of a
    block; `batch_size`: the compute batch, which a unit fills if there are enough draws. `sigmas`: the noise levels of
    images that have their own, by image id.
    """

    first: Need
    block_size: int
    batch_size: int
    sigmas: Mapping[int, float] = field(default_factory=dict)

    @property
    def capacity(self) -> int:
        """The most draws gathered into a unit: a block's, or fewer if those are many batches. Small batches mean a slow
        network, whose work should be shared by all replicas.
        """
        return max(self.batch_size, min(self.block_size, MOST_BATCHES * self.batch_size))

    @property
    def shard_size(self) -> int:
        """Images in a shard: enough to fill a unit even in the role with the fewest draws per image."""
        return max(max(1, self.capacity // draws) for draws in self.first.values() if draws)

    def shards(self, image_ids: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(image_ids), self.shard_size):
            yield image_ids[start : start + self.shard_size]

    def blocks(self, image_id: int, draws: int, blocks_before: int = 0) -> list[Block]:
        """The blocks of `draws` more draws of an image that has `blocks_before` in their role."""
        full, rest = divmod(draws, self.block_size)
        sizes = [self.block_size] * full + [rest] * (rest > 0)
        level = self.sigmas.get(image_id)
        return [Block(image_id, blocks_before + place, size, level) for place, size in enumerate(sizes)]

    def first_units(self, run: int, shard: Sequence[int]) -> Iterator[WorkUnit]:
        """The first round of a shard: the selection draws of all images, then their estimation draws image by image.
        Within a role, blocks that are not full come last, together.
        """
        for role in sorted(self.first):
            blocks = [block for image_id in shard for block in self.blocks(image_id, self.first[role])]
            blocks.sort(key=lambda block: block.draws < self.block_size)
            yield from self.units(run, role, blocks)

    def units(self, run: int, role: Role, blocks: Sequence[Block]) -> Iterator[WorkUnit]:
        """`blocks` in their order, each unit filled up to its capacity."""
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
