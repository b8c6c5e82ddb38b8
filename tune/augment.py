"""Random changes to training images that keep their label: one row a kind."""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from actors.table import Table


@dataclass(frozen=True)
class Augmentation:
    """A crop of an image's own size out of it with `padding` black pixels around, half of them mirrored if `flip`.

    Each image of a batch has its own crop and its own coin.
    """

    padding: int
    flip: bool
    summary: str

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """`images` float (B, C, H, W), on any device -> the same shape; `generator` lives on the CPU."""
        count, channels, height, width = images.shape
        rows = _offsets(count, self.padding, height, generator)
        columns = _offsets(count, self.padding, width, generator)
        if self.flip:
            mirrored = torch.randint(2, (count, 1), generator=generator).bool()
            columns = torch.where(mirrored, columns.flip(1), columns)
        image = torch.arange(count)[:, None, None, None]
        channel = torch.arange(channels)[None, :, None, None]
        where = (image, channel, rows[:, None, :, None], columns[:, None, None, :])
        return pad(images, (self.padding,) * 4)[tuple(index.to(images.device) for index in where)]


def _offsets(count: int, padding: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Positions (count, size) of consecutive pixels in the padded image."""
    return torch.randint(2 * padding + 1, (count, 1), generator=generator) + torch.arange(size)


AUGMENTATIONS: Table[Augmentation] = Table(
    "augmentation",
    {
        "none": Augmentation(0, False, "images as they are"),
        "shift": Augmentation(1, False, "moved by up to a pixel"),
        "crop-flip": Augmentation(4, True, "moved by up to four pixels, and mirrored: CIFAR-10's usual"),
    },
)
