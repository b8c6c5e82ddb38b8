"""The plan of a run: its index set cut into shards, and each shard into work units.

The plan depends on settings and index set alone, so a run has the same units whoever draws them and however often it
is resumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from actors.draws import WorkUnit
from actors.noise import Role


@dataclass(frozen=True)
class DrawPlan:
    """`draws`: how many draws an image needs in each role; `block_size`: the most draws that one unit holds.

    A role with fewer draws than a block shares its units among consecutive images of the index set, so that the
    compute batches of 100 selection draws are as full as those of 10,000 estimation draws.
    """

    draws: Mapping[Role, int]
    block_size: int

    def blocks(self, role: Role) -> list[int]:
        """Draws of each block of `role` for one image, in order."""
        full, rest = divmod(self.draws[role], self.block_size)
        return [self.block_size] * full + [rest] * (rest > 0)

    def images_per_unit(self, role: Role) -> int:
        return max(1, self.block_size // self.draws[role])

    @property
    def shard_size(self) -> int:
        return max(self.images_per_unit(role) for role in self.draws)

    @property
    def draws_per_image(self) -> int:
        return sum(self.draws.values())

    @property
    def blocks_per_image(self) -> int:
        return sum(len(self.blocks(role)) for role in self.draws)

    def shards(self, image_ids: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(image_ids), self.shard_size):
            yield image_ids[start : start + self.shard_size]

    def units(self, run: int, shard: Sequence[int]) -> Iterator[WorkUnit]:
        """All work units of one shard: first every image's selection, then image by image the estimation."""
        for role in sorted(self.draws):
            together = self.images_per_unit(role)
            for start in range(0, len(shard), together):
                for block, draws in enumerate(self.blocks(role)):
                    yield WorkUnit(run, role, block, tuple(shard[start : start + together]), draws)
