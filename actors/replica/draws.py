"""How a work unit is computed: noise -> denoiser -> classifier -> label counts."""

import time
from collections.abc import Mapping

import numpy as np
import torch

from raysmooth.actors.models.base_classifier import BaseClassifier
from raysmooth.actors.noise.streams import NoiseFamily, open_stream
from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit

_PARTS = (8, 4, 2, 1)
"""A unit's last, incomplete batch is computed as one of these fractions of a batch. Few, as each is another shape."""


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
    """Classify the draws of `unit` and count the labels. `images`: by image id, float32 (C, H, W), pixel units, of one
    shape. A block with a level of its own has `noise` at that level: the same random numbers, scaled by it.

    Noise is generated for `batch_size` images at a time; the draws of the blocks fill the batches without gaps. The
    last batch is padded with zero images, which are not counted, to an eighth, a quarter, a half or the whole of a
    batch (always the whole if `classify` has a `fixed_shape`). A batch goes through `classify` in parts of exactly
    `micro_batch` images (default: at once); the noise does not depend on that.
    """
    started = time.perf_counter()
    micro_batch = min(micro_batch or batch_size, batch_size)
    channels, height, width = images[unit.blocks[0].image_id].shape
    # Memory order (B, H, W, C): the (B, C, H, W) view is channels last, and noise is written straight into it.
    rows = -(-batch_size // micro_batch) * micro_batch
    buffer = torch.empty(rows, height, width, channels, device=device)
    batch = buffer.permute(0, 3, 1, 2)
    sizes = [batch_size] if getattr(classify, "fixed_shape", False) else [-(-batch_size // part) for part in _PARTS]
    streams = [open_stream(device, seed, unit.role, block.image_id, block.index) for block in unit.blocks]
    noises = [noise if block.sigma is None else noise.at(block.sigma) for block in unit.blocks]
    pixels = {
        image_id: torch.from_numpy(images[image_id]).permute(1, 2, 0).to(device, torch.float32)
        for image_id in unit.image_ids
    }
    ends = np.cumsum([block.draws for block in unit.blocks])
    total = int(ends[-1])
    labels = torch.empty(-(-total // batch_size) * batch_size, dtype=torch.int64, device=device)
    current = 0
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        filled = start
        while filled < stop:
            end = min(int(ends[current]), stop)
            copies = buffer[filled - start : end - start]
            noises[current].add_(streams[current], copies, pixels[unit.blocks[current].image_id])
            filled = end
            current += end == ends[current]
        buffer[stop - start :].zero_()
        size = min(micro_batch, next(size for size in sizes if size >= stop - start))
        for first in range(0, stop - start, size):
            # The network may overwrite its output in the next pass (CUDA graphs): copy it.
            kept = labels[start + first : min(start + first + size, start + batch_size)]
            kept.copy_(classify(batch[first : first + size])[: len(kept)])
    # One column more than labels, for INVALID; it is split off again below.
    columns = classify.num_labels + 1
    owners = torch.repeat_interleave(
        torch.arange(len(unit.blocks), device=device),
        torch.tensor([block.draws for block in unit.blocks], device=device),
    )
    places = owners * columns + labels[:total] % columns
    counts = torch.bincount(places, minlength=len(unit.blocks) * columns).view(-1, columns).cpu().numpy()
    return UnitCounts(counts[:, :-1], counts[:, -1], time.perf_counter() - started, micro_batch)
