"""The size of a classifier's input: how pixels are resized for it, behind noise and denoiser."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, pi, sin
from typing import TYPE_CHECKING

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Interpolation:
    """A filter as Pillow has it: `weight` of a distance in pixels (of the coarser image), which is 0 beyond `support`.
    None: the nearest pixel. `pillow` is its number in files.
    """

    weight: Callable[[float], float] | None
    support: float
    pillow: int


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else sin(pi * x) / (pi * x)


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _bilinear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _hamming(x: float) -> float:
    return _sinc(x) * (0.54 + 0.46 * cos(pi * x)) if abs(x) < 1 else 0.0


def _bicubic(x: float) -> float:
    """Keys's kernel with a = -1/2, as Pillow has it."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


INTERPOLATIONS: Registry[Interpolation] = Registry(
    "interpolation",
    {
        "nearest": Interpolation(None, 0.0, 0),
        "box": Interpolation(_box, 0.5, 4),
        "bilinear": Interpolation(_bilinear, 1.0, 2),
        "hamming": Interpolation(_hamming, 1.0, 5),
        "bicubic": Interpolation(_bicubic, 2.0, 3),
        "lanczos": Interpolation(_lanczos, 3.0, 1),
    },
)

DEFAULT_INTERPOLATION = "bicubic"

NO_RESIZE = "none"
"""The text of a classifier that takes the images as they are."""

LARGEST_INPUT = 4096
"""Pixels along an edge: networks have at most 1,024 today, and a size that was mistyped should not fill the memory."""

_TEXT = re.compile(
    r"(?P<filter>\w+):(?P<height>\d{1,6})(?:x(?P<width>\d{1,6}))?(?:,crop=(?P<top>\d{1,6})x(?P<left>\d{1,6}))?"
)
_RESAMPLE = LateCallable("raysmooth.actors.models.networks.resample:Resample")


@dataclass(frozen=True)
class InputSize:
    """How images get a classifier's size: resized to `height` x `width`, or, where `width` is None, so that the shorter
    edge is `height`; then cropped in the middle to `crop` (height, width).
    """

    interpolation: str
    height: int
    width: int | None
    crop: tuple[int, int] | None = None

    def __str__(self) -> str:
        resized = f"{self.height}" if self.width is None else f"{self.height}x{self.width}"
        cropped = "" if self.crop is None else f",crop={self.crop[0]}x{self.crop[1]}"
        return f"{self.interpolation}:{resized}{cropped}"

    @classmethod
    def parse(cls, text: str) -> "InputSize | None":
        """Reads what `str` writes; None for NO_RESIZE. Raises RaysmoothError for other text."""
        if text == NO_RESIZE:
            return None
        found = _TEXT.fullmatch(text)
        if found is None:
            raise RaysmoothError(f"'{printable(text)}' is no input size: write bicubic:224x224, for example")
        _ = INTERPOLATIONS[found["filter"]]
        numbers = [None if found[name] is None else int(found[name]) for name in ("height", "width", "top", "left")]
        height, width, top, left = numbers
        if any(number is not None and not 1 <= number <= LARGEST_INPUT for number in numbers):
            raise RaysmoothError(f"'{printable(text)}': an input has 1 to {LARGEST_INPUT:,} pixels along an edge")
        assert height is not None
        crop = None if top is None or left is None else (top, left)
        return cls(found["filter"], height, width, crop)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The size to which images of `height` x `width` are resized, before they are cropped: a shorter edge of 256
        makes 256 x 341 of 300 x 400, rounded down as in transformers and torchvision.
        """
        if self.width is not None:
            return self.height, self.width
        short, long = sorted((height, width))
        longer = self.height * long // short
        return (self.height, longer) if height <= width else (longer, self.height)

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The size of the classifier's input for images of `height` x `width`. Raises RaysmoothError for a crop that is
        larger than the resized image.
        """
        resized = self.resized(height, width)
        if self.crop is not None and (self.crop[0] > resized[0] or self.crop[1] > resized[1]):
            raise RaysmoothError(
                f"images of {height}x{width} are resized to {resized[0]}x{resized[1]}, less than the crop of "
                f"{self.crop[0]}x{self.crop[1]}: write --input-size {self.crop[0]}"
            )
        return self.crop or resized


def settled_input_size(input_size: int | None, interpolation: str | None, own: str | None) -> str:
    """The text of the resizing: `input_size` squares, if the user wants them, else that of the model's `own` files,
    with the user's `interpolation` in its place. `own` is None where the files say nothing, or there are none.

    Raises RaysmoothError for an interpolation without a resizing.
    """
    stated = InputSize.parse(own) if own is not None else None
    if input_size is not None:
        filter_name = interpolation or (stated.interpolation if stated is not None else DEFAULT_INTERPOLATION)
        return str(InputSize(filter_name, input_size, input_size))
    if interpolation is None:
        return str(stated) if stated is not None else NO_RESIZE
    if stated is None:
        raise RaysmoothError(f"--interpolation {interpolation} without a resizing: write --input-size 224, for example")
    return str(replace(stated, interpolation=interpolation))


def resize_layer(text: str) -> "torch.nn.Module | None":
    """The layer for a text as `str(InputSize)`; None for NO_RESIZE. Raises RaysmoothError for other text."""
    size = InputSize.parse(text)
    layer: torch.nn.Module | None = None if size is None else _RESAMPLE(size)
    return layer
