"""Random changes to training images that keep their label: one row a kind.

An `Augmentation` moves the pixels of a batch, on the device where it is. A `PictureAugmentation` cuts one picture of
any size, before it is a tensor, where it is decoded.
"""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import pad

from raysmooth.common.registry import Registry


@dataclass(frozen=True)
class Moves:
    """What an `Augmentation` does to each image of a batch: int64 offsets (B,) into the padded image, bool (B,)."""

    rows: torch.Tensor
    columns: torch.Tensor
    mirrored: torch.Tensor

    def __getitem__(self, part: slice) -> "Moves":
        return Moves(self.rows[part], self.columns[part], self.mirrored[part])


@dataclass(frozen=True)
class Augmentation:
    """A crop of an image's own size out of it with `padding` black pixels around, half of them mirrored if `flip`.

    Each image of a batch has its own crop and its own coin.
    """

    padding: int
    flip: bool
    summary: str

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """`images` (B, C, H, W) of any type, on any device -> the same shape; `generator` lives on the CPU."""
        return self.apply(images, self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> Moves:
        """The moves of `count` images, on the CPU."""
        rows, columns = (torch.randint(2 * self.padding + 1, (count,), generator=generator) for _ in range(2))
        coins = torch.randint(2, (count,), generator=generator).bool()
        return Moves(rows, columns, coins & self.flip)

    def apply(self, images: torch.Tensor, moves: Moves) -> torch.Tensor:
        """`images` (B, C, H, W) of any type, on any device -> the same shape, moved as drawn."""
        if not (self.padding or self.flip):
            return images
        count, channels, height, width = images.shape
        device = images.device
        rows = moves.rows.to(device)[:, None] + torch.arange(height, device=device)
        columns = moves.columns.to(device)[:, None] + torch.arange(width, device=device)
        columns = torch.where(moves.mirrored.to(device)[:, None], columns.flip(1), columns)
        image = torch.arange(count, device=device)[:, None, None, None]
        channel = torch.arange(channels, device=device)[None, :, None, None]
        return pad(images, (self.padding,) * 4)[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


@dataclass(frozen=True)
class PictureAugmentation:
    """A random piece of the picture, resized to a square and mirrored at half of the times.

    Its area is uniform between `smallest` and 1 of the picture's, the logarithm of its width over its height between
    those of 1 / `stretch` and `stretch`: torchvision's RandomResizedCrop, whose way of drawing and resizing this is.
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
        # The largest piece in the middle that is not stretched further than allowed.
        wide, high = min(width, round(height * self.stretch)), min(height, round(width * self.stretch))
        return (height - high) // 2, (width - wide) // 2, high, wide


AUGMENTATIONS: Registry[Augmentation | PictureAugmentation] = Registry(
    "augmentation",
    {
        "none": Augmentation(0, False, "images as they are"),
        "shift": Augmentation(1, False, "moved by up to a pixel"),
        "crop-flip": Augmentation(4, True, "moved by up to four pixels, and mirrored: CIFAR-10's usual"),
        "resized-crop-flip": PictureAugmentation(
            0.08, 4 / 3, "a piece of 8 to 100 % of the picture, resized, and mirrored: ImageNet's usual"
        ),
    },
)
