"""Noisy copies of one image at fixed levels, as batches of forward passes."""

from collections.abc import Callable, Iterator, Sequence

import torch

from raysmooth.actors.noise.streams import NoiseFamily, Stream


@torch.no_grad()
def answers(
    answer: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    noises: Sequence[tuple[NoiseFamily, int]],
    stream: Stream,
    batch_size: int,
    micro_batch: int,
) -> torch.Tensor:
    """What `answer` says of noisy copies of `image` (C, H, W): of each noise in turn as many as it says, all in order.

    Noise comes from `stream` for `batch_size` draws at a time, in memory order (draws, H, W, C); at most `micro_batch`
    draws share a forward pass. The image has its batches to itself, so that its answers depend on no other image.
    """
    rows = image.permute(1, 2, 0)
    given: list[torch.Tensor] = []
    for batch in _batches(noises, batch_size):
        noisy = image.new_empty(sum(draws for _, draws in batch), *rows.shape)
        start = 0
        for noise, draws in batch:
            noise.add_(stream, noisy[start : start + draws], rows)
            start += draws
        given += [answer(part) for part in noisy.permute(0, 3, 1, 2).split(micro_batch)]
    return torch.cat(given)


def _batches(noises: Sequence[tuple[NoiseFamily, int]], size: int) -> Iterator[list[tuple[NoiseFamily, int]]]:
    """The noises and their draws, divided into batches of `size` draws."""
    batch: list[tuple[NoiseFamily, int]] = []
    room = size
    for noise, draws in noises:
        while draws:
            taken = min(draws, room)
            batch.append((noise, taken))
            draws, room = draws - taken, room - taken
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch
