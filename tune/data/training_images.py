"""The interface of training images, and how one image is read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage
from raysmooth.pipeline.data.images import Cut
from raysmooth.tune.data.augment import Augmentation

NO_LABEL = -1


@dataclass(frozen=True)
class Step:
    """The images of one optimizer step: `positions` int64 (B,) of the whole batch among the training images, `local`
    the slice of it that this worker computes, `seed` >= 0 of its augmentation.
    """

    positions: torch.Tensor
    local: slice
    seed: int


class Images(Protocol):
    """Images by position, 0..len-1, and their `labels`, int64 (N,) on the CPU, NO_LABEL for an image without one.

    Batches are on the device: images float32 (b, C, H, W) in pixel units 0..1, in the channels_last memory format,
    and labels int64 (b,). An unreadable image, and one whose shape differs from the first's, raises RaysmoothError.
    """

    labels: torch.Tensor

    def __len__(self) -> int: ...

    def batches(self, steps: Iterable[Step]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The local images of each step, augmented as the step's seed and the image's place in the whole batch decide.

        Steps may be consumed ahead of the batches they yield.
        """

    def in_order(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All images once, `batch` at a time, without augmentation."""

    def first(self) -> torch.Tensor:
        """The first image, (1, C, H, W), without augmentation."""


class Source:
    """The images of `dataset` as stored, all of one shape; `where` names it in messages."""

    def __init__(self, dataset: Dataset, where: str, first: int) -> None:
        """Reads the image `first`, whose shape all others must have; raises RaysmoothError if it is unreadable."""
        self.dataset = dataset
        self.where = where
        self.shape: tuple[int, ...] = ()  # any shape, until the first image is read
        values = self.read(first)
        self.shape = values.shape
        self.dtype = torch.uint8 if values.dtype == np.uint8 else torch.float32

    def read(self, index: int, cut: Cut | None = None) -> np.ndarray:
        """As `Dataset.values`; raises RaysmoothError for an unreadable image and for one of another shape."""
        try:
            values = self.dataset.values(index, cut)
        except UnreadableImage as error:
            raise RaysmoothError(f"{self.where}: {error}; training needs every image: remove or replace it") from error
        if self.shape and values.shape != self.shape:
            raise RaysmoothError(
                f"{self.where}: {named_image(index, self.dataset.place(index))} has shape {values.shape}, earlier ones "
                f"{self.shape}: write --resize and --crop"
            )
        return values

    def read_all(self, requests: Sequence[tuple[int, Cut | None]]) -> torch.Tensor:
        """Images, each with its cut, as one tensor (N, C, H, W), uint8 or float32, channels_last as pictures are."""
        tensor = torch.empty((len(requests), *self.shape), dtype=self.dtype, memory_format=torch.channels_last)
        values = tensor.numpy()
        for place, (index, cut) in enumerate(requests):
            values[place] = self.read(index, cut)
        return tensor


def augmented(values: torch.Tensor, augmentation: Augmentation, step: Step) -> torch.Tensor:
    """The step's local images (b, C, H, W), augmented as its seed decides for the whole batch."""
    moves = augmentation.sample(len(step.positions), torch.Generator().manual_seed(step.seed))
    return augmentation.apply(values, moves[step.local])


def to_pixels(values: torch.Tensor) -> torch.Tensor:
    """Images as stored, uint8 or float32 (B, C, H, W), to float32 in 0..1, channels_last, on the same device."""
    images = values.to(torch.float32)
    if values.dtype == torch.uint8:
        # A divisor on the device: for a plain number CUDA multiplies by the reciprocal, whose rounding differs from
        # that of the certified pixels.
        images = images / torch.full((), 255.0, device=values.device)
    return images.contiguous(memory_format=torch.channels_last)
