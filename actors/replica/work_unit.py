"""Work units: what is drawn, stored or lost at once, and what comes back of it."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Role(IntEnum):
    """What draws are for. The two roles never share a stream: a class chosen by the draws that then estimate
    its probability would void the certificate (Cohen et al. 2019, section 3.2.2).
    """

    SELECTION = 0
    ESTIMATION = 1


@dataclass(frozen=True)
class Cell:
    """One block of draws of one image: what has a noise stream, and a row of counts, of its own."""

    image_id: int
    block: int
    draws: int


@dataclass(frozen=True)
class WorkUnit:
    """Some cells of one run and role that are computed together, their draws following one another in the batches.

    Which cells share a unit is decided by the run's settings and index set, never by scheduling: logits depend (in
    their last bits) on the batch that a draw is computed in, so the batch must be the same whoever computes it.

    `run` tells which of the pool's runs it belongs to.
    """

    run: int
    role: Role
    cells: tuple[Cell, ...]

    @property
    def draws(self) -> int:
        return sum(cell.draws for cell in self.cells)

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The images that are needed to draw it, each once."""
        return tuple(dict.fromkeys(cell.image_id for cell in self.cells))


@dataclass(frozen=True)
class UnitCounts:
    """What comes back of a unit: `counts` int64 (cells, num_classes), how often each label was given; `invalid` int64
    (cells,), draws with logits that are not finite; `seconds` of computing; `micro_batch`, how many draws of a compute
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
