"""How a work unit is drawn: noise -> denoiser -> classifier -> label counts."""

import time
from collections.abc import Mapping

import numpy as np
import torch

from actors.base_classifier import BaseClassifier
from actors.noise import NoiseFamily, open_stream
from actors.work_unit import UnitCounts, WorkUnit


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

    Noise is made `batch_size` images at a time, the last ones of which are zero images that are not counted; the draws
    of several cells follow one another in the batches without gaps. A batch goes through `classify` in parts of
    exactly `micro_batch` (default: as a whole), which changes no noise.
    """
    started = time.perf_counter()
    micro_batch = min(micro_batch or batch_size, batch_size)
    channels, height, width = images[unit.cells[0].image_id].shape
    # Memory order (B, H, W, C): the (B, C, H, W) view is channels last, and noise is written straight into it.
    rows = -(-batch_size // micro_batch) * micro_batch
    buffer = torch.zeros(rows, height, width, channels, device=device)
    parts = buffer.permute(0, 3, 1, 2).split(micro_batch)
    streams = [open_stream(device, seed, unit.role, cell.image_id, cell.block) for cell in unit.cells]
    pixels = {
        image_id: torch.from_numpy(images[image_id]).permute(1, 2, 0).to(device, torch.float32)
        for image_id in unit.image_ids
    }
    ends = np.cumsum([cell.draws for cell in unit.cells])
    total = int(ends[-1])
    labels = torch.empty(-(-total // batch_size) * batch_size, dtype=torch.int64, device=device)
    current = 0
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        filled = start
        while filled < stop:
            end = min(int(ends[current]), stop)
            noise.add_(streams[current], buffer[filled - start : end - start], pixels[unit.cells[current].image_id])
            filled = end
            current += end == ends[current]
        buffer[stop - start :].zero_()
        for place, part in enumerate(parts):
            first = place * micro_batch
            if first < stop - start:
                # The network may overwrite its answer in the next pass (CUDA graphs): it is copied, not kept.
                room = labels[start + first : min(start + first + micro_batch, start + batch_size)]
                room.copy_(classify(part)[: len(room)])
    # One class more than there are: INVALID's own column, split off again below.
    columns = classify.num_classes + 1
    owners = torch.repeat_interleave(
        torch.arange(len(unit.cells), device=device), torch.tensor([cell.draws for cell in unit.cells], device=device)
    )
    cells = owners * columns + labels[:total] % columns
    table = torch.bincount(cells, minlength=len(unit.cells) * columns).view(-1, columns).cpu().numpy()
    return UnitCounts(table[:, :-1], table[:, -1], time.perf_counter() - started, micro_batch)
