"""Work units, the smallest pieces of work to compute, store or lose, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raysmooth.actors.noise.role import Role


@dataclass(frozen=True)
class Block:
    """Draws of one image with one random stream and one row of counts; `index` numbers an image's blocks of a role.
    `sigma`: the noise level of these draws, None for the run's. In a search of noise levels an image has one block, and
    `draws` is its cost in forward passes.
    """

    image_id: int
    index: int
    draws: int
    sigma: float | None = None


@dataclass(frozen=True)
class WorkUnit:
    """Blocks of one run and role that are computed together; their draws follow one another in the compute batches.

    The run's settings and index set decide which blocks share a unit, never scheduling: the last bits of logits depend
    on the batch that a draw is computed in, so every replica must form the same batches.

    `run`: the number of the run in the pool.
    """

    run: int
    role: Role
    blocks: tuple[Block, ...]

    @property
    def draws(self) -> int:
        return sum(block.draws for block in self.blocks)

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The images of its blocks, each once."""
        return tuple(dict.fromkeys(block.image_id for block in self.blocks))


@dataclass(frozen=True)
class UnitCounts:
    """The result of a unit. `counts`, int64 (blocks, num_labels): how often each label was returned. `invalid`, int64
    (blocks,): draws whose logits were not finite. `seconds`: computing time. `micro_batch`: images per forward pass
    (smaller than the compute batch only if the GPU's memory was too small).
    """

    counts: np.ndarray
    invalid: np.ndarray
    seconds: float
    micro_batch: int


@dataclass(frozen=True)
class UnitSigmas:
    """The result of a unit of Role.OPTIMISATION, by image, in the order of its blocks.

    `sigmas`, float64 (images, steps): the noise level, a standard deviation, after each of the search's kept steps.
    `objectives`, float64 (images, steps): the objective in the step that led there, `classes`, int64 (images, steps),
    the class whose radius it is. `radii`, float64 (images,): within it the level stays the same, by the search's own
    certificate, 0 where that abstains; NaN for a search without one. `failed`: a reason for each image, None where all
    went well; the numbers of a failed image mean nothing. `seconds` and `micro_batch` are as in `UnitCounts`.
    """

    sigmas: np.ndarray
    objectives: np.ndarray
    classes: np.ndarray
    radii: np.ndarray
    failed: tuple[str | None, ...]
    seconds: float
    micro_batch: int


@dataclass(frozen=True)
class Drawn:
    """The result of a call: the counts of its units, in order, up to the first that `failed`, for that reason. Units of
    Role.OPTIMISATION have levels in place of counts.
    """

    counts: Sequence[UnitCounts | UnitSigmas]
    failed: str | None = None
