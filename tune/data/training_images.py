"""What training asks of its images, and how one of them is read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage
from raysmooth.pipeline.data.images import Cut
from raysmooth.tune.data.augment import Augmentation

NO_LABEL = -1


@dataclass(frozen=True)
class Step:
    """The images of one optimizer step: `positions` int64 (B,) of the whole batch among the training images, `part`
    the slice of it that this worker computes, `seed` >= 0 of its random changes.
    """

    positions: torch.Tensor
    part: slice
    seed: int


class Images(Protocol):
    """Images by position, 0..len-1, and their `labels`, int64 (N,) on the CPU, NO_LABEL where there is none.

    What it yields is on the device: images float32 (b, C, H, W) in pixel units 0..1, in the channels_last memory
    format, and labels int64 (b,). An image that cannot be read, or has another shape than the first, is a RaysmoothError.
    """

    labels: torch.Tensor

    def __len__(self) -> int: ...

    def batches(self, steps: Iterable[Step]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The part of each step, changed at random: an image's change is decided by the step's seed and the image's
        place in the whole batch. Steps may be asked for ahead of the batches they give.
        """

    def in_order(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All images once, `batch` at a time, as they are."""

    def first(self) -> torch.Tensor:
        """The first image, (1, C, H, W), as it is."""


class Source:
    """The images of `dataset` as stored, all of one shape; `where` is what messages call it."""

    def __init__(self, dataset: Dataset, where: str, first: int) -> None:
        """`first` is the image whose shape the others must have; it is read. Raises RaysmoothError if it cannot be."""
        self.dataset = dataset
        self.where = where
        self.shape: tuple[int, ...] = ()  # of any image, until the first is read
        values = self.read(first)
        self.shape = values.shape
        self.dtype = torch.uint8 if values.dtype == np.uint8 else torch.float32

    def read(self, index: int, cut: Cut | None = None) -> np.ndarray:
        """`Dataset.values`, but an unreadable image and one of another shape are Refusals."""
        try:
            values = self.dataset.values(index, cut)
        except UnreadableImage as error:
            raise RaysmoothError(f"{self.where}: {error}; training needs every image: remove or replace it") from error
        if self.shape and values.shape != self.shape:
            colours = len(values) != self.shape[0]
            raise RaysmoothError(
                f"{self.where}: image {index} has shape {values.shape}, the ones before {self.shape}: "
                + ("training needs all of them grey or all in colour" if colours else "write --resize and --crop")
            )
        return values

    def read_all(self, wanted: Sequence[tuple[int, Cut | None]]) -> torch.Tensor:
        """Images, each with its cut, as one tensor (N, C, H, W), uint8 or float32, channels_last as pictures are."""
        tensor = torch.empty((len(wanted), *self.shape), dtype=self.dtype, memory_format=torch.channels_last)
        values = tensor.numpy()
        for place, (index, cut) in enumerate(wanted):
            values[place] = self.read(index, cut)
        return tensor


def changed(values: torch.Tensor, augmentation: Augmentation, step: Step) -> torch.Tensor:
    """The images (b, C, H, W) of the step's part, as its seed decides for the whole batch."""
    moves = augmentation.draw(len(step.positions), torch.Generator().manual_seed(step.seed))
    return augmentation.apply(values, moves[step.part])


def to_pixels(values: torch.Tensor) -> torch.Tensor:
    """Images as stored, uint8 or float32 (B, C, H, W), to float32 in 0..1, channels_last, on the same device."""
    images = values.to(torch.float32)
    if values.dtype == torch.uint8:
        # A divisor on the device: by a plain number, CUDA multiplies with the reciprocal, which rounds otherwise
        # than the pixels that are certified.
        images = images / torch.full((), 255.0, device=values.device)
    return images.contiguous(memory_format=torch.channels_last)
