"""How a work unit is drawn: noise -> denoiser -> classifier -> label counts."""

import time
from collections.abc import Mapping

import numpy as np
import torch

from raysmooth.actors.models.base_classifier import BaseClassifier
from raysmooth.actors.noise.streams import NoiseFamily, open_stream
from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit

_PARTS = (8, 4, 2, 1)
"""Parts of a batch that a unit's last draws may be computed in, smallest first: few, as each is a shape of its own."""


@torch.inference_mode()
def draw(
    unit: WorkUnit,
    images: Mapping[int, np.ndarray],
    classify: BaseClassifier,
    noise: NoiseFamily,
    *,
    seed: int,
    batch_size: int,
    device: torch.device,
    micro_batch: int | None = None,
) -> UnitCounts:
    """Draw `unit` for `images` (by image id, each float32 (C, H, W), pixel units, all of one shape), count the labels.

    Noise is made `batch_size` images at a time; the draws of several blocks follow one another in the batches without
    gaps. What is left for the last batch is filled up with zero images, which are not counted: to a half, a quarter or
    an eighth of a batch if that holds it, unless `classify` has a `fixed_shape`. A batch goes through `classify` in
    parts of exactly `micro_batch` (default: as a whole), which changes no noise.
    """
    started = time.perf_counter()
    micro_batch = min(micro_batch or batch_size, batch_size)
    channels, height, width = images[unit.blocks[0].image_id].shape
    # Memory order (B, H, W, C): the (B, C, H, W) view is channels last, and noise is written straight into it.
    rows = -(-batch_size // micro_batch) * micro_batch
    buffer = torch.empty(rows, height, width, channels, device=device)
    batch = buffer.permute(0, 3, 1, 2)
    sizes = [batch_size] if getattr(classify, "fixed_shape", False) else [-(-batch_size // part) for part in _PARTS]
    streams = [open_stream(device, seed, unit.role, cell.image_id, cell.block) for cell in unit.blocks]
    pixels = {
        image_id: torch.from_numpy(images[image_id]).permute(1, 2, 0).to(device, torch.float32)
        for image_id in unit.image_ids
    }
    ends = np.cumsum([cell.draws for cell in unit.blocks])
    total = int(ends[-1])
    labels = torch.empty(-(-total // batch_size) * batch_size, dtype=torch.int64, device=device)
    current = 0
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        filled = start
        while filled < stop:
            end = min(int(ends[current]), stop)
            noise.add_(streams[current], buffer[filled - start : end - start], pixels[unit.blocks[current].image_id])
            filled = end
            current += end == ends[current]
        buffer[stop - start :].zero_()
        size = min(micro_batch, next(size for size in sizes if size >= stop - start))
        for first in range(0, stop - start, size):
            # The network may overwrite its answer in the next pass (CUDA graphs): it is copied, not kept.
            room = labels[start + first : min(start + first + size, start + batch_size)]
            room.copy_(classify(batch[first : first + size])[: len(room)])
    # One class more than there are: INVALID's own column, split off again below.
    columns = classify.num_classes + 1
    owners = torch.repeat_interleave(
        torch.arange(len(unit.blocks), device=device), torch.tensor([cell.draws for cell in unit.blocks], device=device)
    )
    blocks = owners * columns + labels[:total] % columns
    table = torch.bincount(blocks, minlength=len(unit.blocks) * columns).view(-1, columns).cpu().numpy()
    return UnitCounts(table[:, :-1], table[:, -1], time.perf_counter() - started, micro_batch)
