"""Work units, and how one is drawn: noise -> denoiser -> classifier -> label counts."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from actors.base_classifier import BaseClassifier
from actors.noise import NoiseFamily, Role, open_stream


@dataclass(frozen=True)
class WorkUnit:
    """One block of draws of one or several images: the least that is drawn, stored or lost at once.

    Which images share a unit is decided by the run's index set, never by scheduling: logits depend (in their last
    bits) on the batch that a draw is computed in, so the batch must be the same whoever computes it.

    `run` tells which of the pool's runs it belongs to; `draws` is the number for each image.
    """

    run: int
    role: Role
    block: int
    image_ids: tuple[int, ...]
    draws: int

    @property
    def total_draws(self) -> int:
        return self.draws * len(self.image_ids)


@dataclass(frozen=True)
class UnitCounts:
    """What comes back of a unit: `counts` int64 (images, num_classes), how often each label was given;
    `invalid` int64 (images,), draws with logits that are not finite; `seconds` of computing.
    """

    counts: np.ndarray
    invalid: np.ndarray
    seconds: float


@torch.inference_mode()
def draw(
    unit: WorkUnit,
    images: list[np.ndarray],
    classify: BaseClassifier,
    noise: NoiseFamily,
    *,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> UnitCounts:
    """Draw `unit` for `images` (one float32 (C, H, W) each, pixel units, all of one shape) and count the labels.

    Every forward pass has exactly `batch_size` rows, the last one padded with zero images that are not counted; the
    draws of several images follow one another in the batches without gaps.
    """
    started = time.perf_counter()
    channels, height, width = images[0].shape
    # Memory order (B, H, W, C): the (B, C, H, W) view is channels last, and noise is written straight into it.
    buffer = torch.zeros(batch_size, height, width, channels, device=device)
    streams = [open_stream(device, seed, unit.role, image_id, unit.block) for image_id in unit.image_ids]
    pixels = [torch.from_numpy(image).permute(1, 2, 0).to(device, torch.float32) for image in images]
    owners: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    for start in range(0, unit.total_draws, batch_size):
        stop = min(start + batch_size, unit.total_draws)
        for index in range(start // unit.draws, (stop - 1) // unit.draws + 1):
            first, last = max(start, index * unit.draws), min(stop, (index + 1) * unit.draws)
            noise.add_(streams[index], buffer[first - start : last - start], pixels[index])
        buffer[stop - start :].zero_()
        labels.append(classify(buffer.permute(0, 3, 1, 2))[: stop - start])
        owners.append(torch.arange(start, stop, device=device) // unit.draws)
    # One class more than there are: INVALID's own column, split off again below.
    columns = classify.num_classes + 1
    cells = torch.cat(owners) * columns + torch.cat(labels) % columns
    table = torch.bincount(cells, minlength=len(images) * columns).view(len(images), columns).cpu().numpy()
    return UnitCounts(table[:, :-1], table[:, -1], time.perf_counter() - started)
