"""K-consensus of an ensemble, with the passes saved: only draws on which the first members disagree go through all."""

from collections.abc import Callable

import torch

from raysmooth.actors.compute.compilation import compiled
from raysmooth.actors.models.networks.ensemble import Ensemble

PARTS = 8
"""The other members compute an eighth of a batch at a time, padded: their answer to a draw must not depend on how many
of its neighbours need them too."""


class ConsensusSteps:
    """Noisy pixels (B, C, H, W) -> logits (B, K), float32, as `ensemble` gives for `normalised`(pixels), its input.

    A draw's logits follow from the draw and the size of the batch alone: a batch goes through the first members as a
    whole, and the draws on which these disagree through the others in parts of one size.
    """

    def __init__(self, ensemble: Ensemble, normalised: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._ensemble = ensemble
        self._normalised = normalised
        self._copies = False
        self._first: Callable[[torch.Tensor], tuple[torch.Tensor, ...]] = self._head
        self._others: Callable[[torch.Tensor], torch.Tensor] = ensemble.tail

    def compile(self, batch: torch.Tensor) -> None:
        """Compile both steps for batches of the shape of `batch`; raises RaysmoothError as `compiled` does."""
        pixels = self._head(batch)[0]
        self._first = compiled(self._head, batch)
        self._others = compiled(self._ensemble.tail, _part(pixels, torch.arange(1, device=pixels.device), len(batch)))
        self._copies = batch.device.type == "cuda"  # where the next call overwrites what compiled code returned

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        pixels, total, agreed = self._first(batch)
        if self._copies:
            pixels, total, agreed = pixels.clone(), total.clone(), agreed.clone()
        assert self._ensemble.consensus is not None
        answer = total / self._ensemble.consensus
        for rows in (~agreed).nonzero().flatten().split(_size(len(batch))):
            tail = self._others(_part(pixels, rows, len(batch)))[: len(rows)]
            answer[rows] = self._ensemble.settled(total[rows], tail)
        return answer

    def _head(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pixels = self._normalised(batch)
        return pixels, *self._ensemble.head(pixels)


def _size(batch: int) -> int:
    return -(-batch // PARTS)


def _part(pixels: torch.Tensor, rows: torch.Tensor, batch: int) -> torch.Tensor:
    """The `rows` of `pixels`, and blank images up to the size of a part of a `batch`."""
    part = torch.zeros((_size(batch), *pixels.shape[1:]), dtype=pixels.dtype, device=pixels.device)
    part = part.contiguous(memory_format=torch.channels_last)
    part[: len(rows)] = pixels[rows]
    return part
