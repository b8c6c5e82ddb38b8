"""Random changes to training images that keep their label.

An `Augmentation` moves the pixels of a batch, on its device. A `PictureAugmentation` cuts a piece out of one picture of
any size, in the process that decodes it.
"""

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LateModule("torch"), LateModule("torch.nn.functional")


@dataclass(frozen=True)
class Moves:
    """The random moves of a batch: int64 offsets (B,) into the padded images, and bool (B,) for mirrored ones."""

    rows: "torch.Tensor"
    columns: "torch.Tensor"
    mirrored: "torch.Tensor"

    def __getitem__(self, images: slice) -> "Moves":
        return Moves(self.rows[images], self.columns[images], self.mirrored[images])


@dataclass(frozen=True)
class Augmentation:
    """A random crop, of the image's own size, from the image padded with `padding` black pixels; half of the images
    are mirrored if `flip`. Each image of a batch has its own crop and coin.
    """

    padding: int
    flip: bool
    summary: str

    def __call__(self, images: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
        """`images` (B, C, H, W) of any type, on any device -> the same shape; `generator` lives on the CPU."""
        return self.apply(images, self.sample(len(images), generator))

    def sample(self, count: int, generator: "torch.Generator") -> Moves:
        """Random moves for `count` images, on the CPU."""
        rows, columns = (torch.randint(2 * self.padding + 1, (count,), generator=generator) for _ in range(2))
        coins = torch.randint(2, (count,), generator=generator).bool()
        return Moves(rows, columns, coins & self.flip)

    def apply(self, images: "torch.Tensor", moves: Moves) -> "torch.Tensor":
        """`images` (B, C, H, W) of any type, on any device -> the same shape, moved."""
        if not (self.padding or self.flip):
            return images
        count, channels, height, width = images.shape
        device = images.device
        rows = moves.rows.to(device)[:, None] + torch.arange(height, device=device)
        columns = moves.columns.to(device)[:, None] + torch.arange(width, device=device)
        columns = torch.where(moves.mirrored.to(device)[:, None], columns.flip(1), columns)
        image = torch.arange(count, device=device)[:, None, None, None]
        channel = torch.arange(channels, device=device)[None, :, None, None]
        return functional.pad(images, (self.padding,) * 4)[
            image, channel, rows[:, None, :, None], columns[:, None, None, :]
        ]


@dataclass(frozen=True)
class PictureAugmentation:
    """A random piece of the picture, resized to a square, mirrored with probability 1/2.

    Its area is uniform between `smallest` and 1 of the picture's; the logarithm of its aspect ratio is uniform between
    those of 1 / `stretch` and `stretch`. Sampled and resized as by torchvision's RandomResizedCrop.
    """

    smallest: float
    stretch: float
    summary: str

    def apply(self, picture: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
        """`picture` of any size -> `size` x `size` pixels, bilinear and antialiased, rounded to 8 bits."""
        import torchvision.transforms.functional as transforms  # here: the import takes two seconds

        box = self._box(picture.width, picture.height, random)
        piece = transforms.resized_crop(picture, *box, [size, size], antialias=True)
        return transforms.hflip(piece) if random.integers(2) else piece

    def _box(self, width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width of the piece, in pixels."""
        for _ in range(10):
            area = width * height * random.uniform(self.smallest, 1)
            aspect = exp(random.uniform(-log(self.stretch), log(self.stretch)))
            wide, high = round(sqrt(area * aspect)), round(sqrt(area / aspect))
            if 0 < wide <= width and 0 < high <= height:
                return int(random.integers(height - high + 1)), int(random.integers(width - wide + 1)), high, wide
        # The largest central piece within the allowed aspect ratios.
        wide, high = min(width, round(height * self.stretch)), min(height, round(width * self.stretch))
        return (height - high) // 2, (width - wide) // 2, high, wide


AUGMENTATIONS: Registry[Augmentation | PictureAugmentation] = Registry(
    "augmentation",
    {
        "none": Augmentation(0, False, "images unchanged"),
        "shift": Augmentation(1, False, "moved by up to a pixel"),
        "crop": Augmentation(4, False, "moved by up to four pixels"),
        "crop-flip": Augmentation(4, True, "moved by up to four pixels, and mirrored: CIFAR-10's usual"),
        "resized-crop-flip": PictureAugmentation(
            0.08, 4 / 3, "a piece of 8 to 100 % of the picture, resized, and mirrored: ImageNet's usual"
        ),
    },
)
