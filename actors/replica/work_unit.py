"""Work units: what is drawn, stored or lost at once, and what comes back of it."""

from dataclasses import dataclass

import numpy as np

from raysmooth.actors.noise.role import Role


@dataclass(frozen=True)
class Block:
    """One block of draws of one image: what has a noise stream, and a row of counts, of its own."""

    image_id: int
    block: int
    draws: int


@dataclass(frozen=True)
class WorkUnit:
    """Some blocks of one run and role that are computed together, their draws following one another in the batches.

    Which blocks share a unit is decided by the run's settings and index set, never by scheduling: logits depend (in
    their last bits) on the batch that a draw is computed in, so the batch must be the same whoever computes it.

    `run` tells which of the pool's runs it belongs to.
    """

    run: int
    role: Role
    blocks: tuple[Block, ...]

    @property
    def draws(self) -> int:
        return sum(cell.draws for cell in self.blocks)

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The images that are needed to draw it, each once."""
        return tuple(dict.fromkeys(cell.image_id for cell in self.blocks))


@dataclass(frozen=True)
class UnitCounts:
    """What comes back of a unit: `counts` int64 (blocks, num_classes), how often each label was given; `invalid` int64
    (blocks,), draws with logits that are not finite; `seconds` of computing; `micro_batch`, how many draws of a compute
    batch went through the network at once (fewer than all only where the GPU's memory was too small).
    """

    counts: np.ndarray
    invalid: np.ndarray
    seconds: float
    micro_batch: int


@dataclass(frozen=True)
class Drawn:
    """What became of a call: the counts of its units, in order, up to the first that `failed` with that reason."""

    counts: list[UnitCounts]
    failed: str | None = None
