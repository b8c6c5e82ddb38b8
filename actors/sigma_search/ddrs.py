"""Gradient ascent on the certified radius of each image (Alfarra et al., Data dependent randomized smoothing,
algorithm 1), all images of a batch together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.streams import NoiseFamily, Stream
from raysmooth.actors.sigma_search.found import NO_ANSWER, Found, SearchedImages, sigma_of, unit_noise
from raysmooth.actors.sigma_search.gradients import Slopes, mean_softmax
from raysmooth.actors.sigma_search.objective import certified_radius
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.search_options import GRADIENTS, Ddrs


@dataclass(frozen=True)
class Ascent:
    """An ascent of B images after each kept step, float64 (B, steps): `levels`, `objectives` and `classes` (int64), the
    last two of the step that led to the level. `bad_step`, int64 (B,): the first step without a finite slope, 0 where
    there was none; the level stays where it was then.
    """

    levels: torch.Tensor
    objectives: torch.Tensor
    classes: torch.Tensor
    bad_step: torch.Tensor


def ascend(
    first: torch.Tensor, options: Ddrs, bounds: tuple[float, float], slopes_at: Callable[[torch.Tensor], Slopes]
) -> Ascent:
    """Plain ascent from `first`, float64 (B,), between `bounds`: a longer ascent passes through the levels of a shorter
    one. `slopes_at` makes new draws in each call.
    """
    level, bad_step = first.clone(), torch.zeros_like(first, dtype=torch.int64)
    kept_steps, kept = {*options.kept_steps}, []
    for step in range(1, options.steps + 1):
        found = slopes_at(level)
        fine = found.finite & found.slope.isfinite()
        bad_step = torch.where(fine | (bad_step > 0), bad_step, step)
        moved = (level + options.learning_rate * found.slope).clamp(*bounds)
        level = torch.where(bad_step == 0, moved, level)
        if step in kept_steps:
            kept.append((level, found.value, found.probabilities.argmax(dim=1)))
    levels, objectives, classes = (torch.stack(each, dim=1) for each in zip(*kept, strict=True))
    return Ascent(levels, objectives, classes, bad_step)


def find(
    images: SearchedImages,
    network: SearchNetwork,
    noise: NoiseFamily,
    options: Ddrs,
    *,
    batch_size: int,
    micro_batch: int,
) -> Found:
    """A level for each of `images`, from that of `noise` on.

    A batch holds as many images as have `batch_size` draws together, at least one, and is filled with blank ones: the
    last bits of logits depend on its size. At most `micro_batch` draws share a forward pass.

    Each step takes the next `draws` of block 0 of an image's stream; the draws of an anchor are block 1. Memory order
    is that of `draw`: (draws, H, W, C).
    """
    held = options.images_at_once(batch_size)
    parts = [
        SearchedImages(pixels, images.streams[start : start + held])
        for start, pixels in zip(range(0, len(images.pixels), held), images.pixels.split(held), strict=True)
    ]
    return Found.joined([_find(part, held, network, noise, options, micro_batch) for part in parts])


def _find(
    images: SearchedImages, held: int, network: SearchNetwork, noise: NoiseFamily, options: Ddrs, micro_batch: int
) -> Found:
    real, unit = len(images.pixels), unit_noise(noise)
    pixels = torch.cat([images.pixels, images.pixels.new_zeros(held - real, *images.pixels.shape[1:])])
    channels, height, width = pixels.shape[1:]
    drawn = pixels.new_zeros(held, options.draws, height, width, channels)
    units = drawn.permute(0, 1, 4, 2, 3)
    start = NOISES[noise.name].of_sigma(noise.scale)
    first = torch.full((held,), start, dtype=torch.float64, device=pixels.device)
    compute = GRADIENTS[options.gradient].compute

    def draw(streams: Sequence[Stream]) -> None:
        for place, stream in enumerate(streams):
            unit.fill_(stream, drawn[place])

    anchor = None
    if options.anchor == "on":
        streams, sums = [opened(1) for opened in images.streams], []
        for _ in range(options.anchor_rounds):
            draw(streams)
            sums.append(mean_softmax(network.logits, pixels, units, first, micro_batch)[0])
        anchor = torch.stack(sums).sum(dim=0).argmax(dim=1)
    streams = [opened(0) for opened in images.streams]

    def objective(probabilities: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return certified_radius(probabilities, level, noise.name, options.clamp, anchor)

    def slopes_at(level: torch.Tensor) -> Slopes:
        draw(streams)
        found: Slopes = compute(network.logits, pixels, units, level, objective, micro_batch)
        return found

    ascent = ascend(first, options, options.bounds(start), slopes_at)
    classes = ascent.classes if anchor is None else anchor.unsqueeze(1).expand_as(ascent.classes)
    levels, objectives, tops, bad = (
        tensor[:real].cpu().numpy() for tensor in (ascent.levels, ascent.objectives, classes, ascent.bad_step)
    )
    failed = tuple(f"{NO_ANSWER} in step {step} of the search" if step else None for step in bad.tolist())
    return Found(levels * sigma_of(noise, 1.0), objectives, tops, np.full(real, np.nan), failed)
