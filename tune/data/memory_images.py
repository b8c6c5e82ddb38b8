"""Training images that live in the memory of the device."""

from collections.abc import Iterable, Iterator

import torch

from raysmooth.tune.data.augment import Augmentation
from raysmooth.tune.data.training_images import Step, augmented, to_pixels


class MemoryImages:
    """The images at `places`, int64 (N,), of `values` (M, C, H, W), uint8 or float32 in 0..1, on the device.

    `labels` int64 (N,) are on the CPU. The methods are those of `Images`.
    """

    def __init__(
        self, values: torch.Tensor, places: torch.Tensor, labels: torch.Tensor, augmentation: Augmentation
    ) -> None:
        self.labels = labels
        self._values = values
        self._places = places.to(values.device)
        self._labels = labels.to(values.device)
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, steps: Iterable[Step]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for step in steps:
            positions = step.positions[step.local].to(self._values.device)
            values = augmented(self._values[self._places[positions]], self._augmentation, step)
            yield to_pixels(values), self._labels[positions]

    def in_order(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for places, labels in zip(self._places.split(batch), self._labels.split(batch), strict=True):
            yield to_pixels(self._values[places]), labels

    def first(self) -> torch.Tensor:
        return to_pixels(self._values[self._places[:1]])
