"""The first noisy copies of an image, drawn again: each (seed, role, image, block) has its own random stream."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily, open_stream
from raysmooth.pipeline.runs.draw_plan import DrawPlan


def first_copies(
    image: np.ndarray,
    noise: NoiseFamily,
    device: torch.device,
    *,
    seed: int,
    role: Role,
    image_id: int,
    copies: int,
    pieces: Iterator[int] | None = None,
) -> torch.Tensor:
    """The first `copies` noisy copies of `image` (C, H, W), pixel units, in block 0 of its draws in `role`.

    Float32 (copies, C, H, W) on `device`, channels last in memory, never clipped. A GPU's random numbers depend on the
    `pieces`, in draws, in which the run filled its batches; a CPU's do not.
    """
    pixels = torch.from_numpy(image).permute(1, 2, 0).to(device, torch.float32)  # noise is generated in this order
    stream = open_stream(device, seed, role, image_id, 0)
    batches: list[torch.Tensor] = []
    while (made := sum(map(len, batches))) < copies:
        piece = torch.empty(copies - made if pieces is None else next(pieces), *pixels.shape, device=device)
        noise.add_(stream, piece, pixels)
        batches.append(piece)
    return torch.cat(batches)[:copies].permute(0, 3, 1, 2)


def batch_pieces(plan: DrawPlan, image_ids: Sequence[int], image_id: int, role: Role, draws: int) -> Iterator[int]:
    """The pieces in which a run with this plan puts block 0, of `draws` draws, into its compute batches: other blocks
    of the same unit may precede it.
    """
    before = _draws_before(plan, image_ids, image_id, role)
    left = draws
    while left:
        piece = min(left, plan.batch_size - before % plan.batch_size)
        yield piece
        before, left = 0, left - piece


def _draws_before(plan: DrawPlan, image_ids: Sequence[int], image_id: int, role: Role) -> int:
    """Draws of the unit before block 0; 0 in a role of later rounds, whose units hold one image only."""
    shard = next(shard for shard in plan.shards(image_ids) if image_id in shard)
    for unit in plan.first_units(0, shard):
        places = [(block.image_id, block.index) for block in unit.blocks]
        if unit.role == role and (image_id, 0) in places:
            return sum(block.draws for block in unit.blocks[: places.index((image_id, 0))])
    return 0
