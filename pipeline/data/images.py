"""One image of a data set: from its encoded bytes to pixels, or to the reason why it cannot be read."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from raysmooth.common.errors import RaysmoothError, named_image, one_line
from raysmooth.pipeline.data.bit_depth import exceeds_8_bits

# The formats that Pillow may try. By default it tries all it knows, some of which start other programs (EPS runs
# Ghostscript), and image files are of unknown origin.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF", "AVIF", "JPEG2000")
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".avif", ".jp2",
)  # fmt: skip
GREY, RGB = 1, 3
"""Numbers of channels."""

MOST_PIXELS = 2**26
"""Pixels of an image after resizing; a narrow image would become thousands of times as large."""


@dataclass(frozen=True)
class Example:
    """`image`: float32 (C, H, W) in pixel units, 0..1; `label`: an int in 0..K-1, or None if unlabelled."""

    image: np.ndarray
    label: int | None


class UnreadableImage(Exception):
    """Image `index` of its data set, at `place` if the data set names one, cannot be decoded, framed or found; `reason`
    is one line.

    The reason is the same on every machine and in every run (no folder, no memory address), since it is written to
    result rows, which are compared between runs.
    """

    def __init__(self, index: int, reason: str, place: str | None = None) -> None:
        super().__init__(index, reason, place)  # all, so that it survives pickling between processes
        self.index = index
        self.reason = reason
        self.place = place

    def __str__(self) -> str:
        return f"{named_image(self.index, self.place)}: {self.reason}"


class Cut(Protocol):
    """Cuts a decoded image to size: the data set's `Framing`, or a random cut for training."""

    def apply(self, index: int, image: Image.Image) -> Image.Image:
        """The cut of image `index`; raises UnreadableImage if it is too small."""


@dataclass(frozen=True)
class Framing:
    """Cuts an image to size: shorter edge to `resize` pixels, then the central `crop` x `crop` square.

    None skips that step. Resizing is torchvision's on PIL images: bilinear, antialiased, rounded to 8 bits. Raises
    RaysmoothError for a size below 1, and for a crop larger than the resized image.
    """

    resize: int | None = None
    crop: int | None = None

    def __post_init__(self) -> None:
        for flag, size in (("--resize", self.resize), ("--crop", self.crop)):
            if size is not None and size < 1:
                raise RaysmoothError(f"{flag} {size}: a size in pixels is 1 or more; leave {flag} out for none")
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            # The shorter edge is `resize` exactly, so this would fail for every image.
            raise RaysmoothError(
                f"--crop {self.crop} exceeds --resize {self.resize}: write --crop {self.resize} or less"
            )

    def apply(self, index: int, image: Image.Image) -> Image.Image:
        """The framed image; raises UnreadableImage if it is smaller than the crop."""
        if self == Framing():
            return image
        import torchvision.transforms.functional as transforms  # here: the import takes two seconds

        if self.resize is not None:
            width, height = (round(side * self.resize / min(image.size)) for side in image.size)
            if width * height > MOST_PIXELS:
                raise UnreadableImage(
                    index, f"{image.width} x {image.height} pixels would become {width} x {height} by resizing"
                )
            image = transforms.resize(image, self.resize, antialias=True)
        if self.crop is not None:
            if self.crop > min(image.size):  # torchvision would pad with black, and certify the padding
                width, height = image.size
                raise UnreadableImage(index, f"crop {self.crop} is larger than the image ({width} x {height} pixels)")
            image = transforms.center_crop(image, self.crop)
        return image


def decode(index: int, content: bytes, cut: Cut, channels: int, upright: bool = False) -> np.ndarray:
    """Decode an image and cut it to size: uint8 (channels, H, W), grey for 1 channel, RGB for 3.

    An alpha channel is dropped; of an animation the first frame is taken. With `upright` the orientation that EXIF
    names is applied. Raises UnreadableImage, also for images of more than 8 bits a channel, which Pillow would
    silently clip or reduce.
    """
    try:
        with _quiet():
            return _decoded(index, content, cut, channels, upright)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        what = f"{len(content)} bytes" if content else "no bytes at all"
        raise UnreadableImage(index, f"not an image of a known format ({what})") from None
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error and more for damaged bytes: no list is complete.
        raise UnreadableImage(index, portable_reason(error)) from error


def _decoded(index: int, content: bytes, cut: Cut, channels: int, upright: bool) -> np.ndarray:
    image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    if exceeds_8_bits(image, content):
        raise UnreadableImage(index, f"more than 8 bits a channel (mode {image.mode}): store it with 8 bits")
    image.load()  # EXIF may follow the pixels, and Pillow turns TIFF files itself
    turn = _orientation(image) if upright else None
    image = image.convert("L" if channels == GREY else "RGB")
    if turn is not None:
        image = image.transpose(turn)
    return channels_first(np.asarray(cut.apply(index, image)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings about damaged metadata and large images, which decide nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@dataclass(frozen=True)
class Header:
    """What an image says of itself before it is decoded: its `channels`, 1 or 3, and whether EXIF turns it."""

    channels: int
    turned: bool


def header_of(content: bytes) -> Header | None:
    """The header of an image; None for one that cannot be read."""
    try:
        with _quiet():
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            may_turn = image.format != "TIFF" and any(mark in content for mark in _ORIENTATION_MARKS)
            turned = may_turn and _orientation(image) is not None
        return Header(GREY if image.mode in ("1", "L", "LA") else RGB, turned)
    except Exception:  # as in `decode`
        return None


_ORIENTATION_MARKS = (b"xif", b"EXIF", b"adobe", b"tiff:", b"irot", b"imir")
"""An image without any of these has no orientation. (Asked for EXIF, Pillow would decode a whole PNG to find none.)"""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """What EXIF says has to be done to the image; None for nothing, and where EXIF is missing or damaged.

    Not Pillow's `exif_transpose`: it also writes the other EXIF tags again, and fails where one of them is damaged.
    """
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # getexif parses what it finds: any error is possible, and none should cost the image
        return None


def channels_first(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) to (C, H, W), without a copy."""
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


def pixels(values: np.ndarray) -> np.ndarray:
    """A new float32 (C, H, W) in 0..1: a copy of float32 values; of uint8 values exactly value / 255 in float32."""
    if values.dtype != np.uint8:
        return values.copy()
    return np.ascontiguousarray(values, dtype=np.float32) / np.float32(255)


def identity(content: bytes | None, label: int | None) -> bytes:
    """One image's part of a fingerprint: its label and its content, None if that is missing."""
    if content is None:
        return f"missing;{label};".encode()
    return f"image;{label};".encode() + content


def is_missing(content: bytes) -> bool:
    """Whether an `identity` is of an image whose content is missing."""
    return content.startswith(b"missing;")


def listed(name: str, size: int | None, label: int | None) -> bytes:
    """One image's part of a listing's fingerprint: its place, its size in bytes (None if missing) and its label."""
    return f"{name};{size};{label};".encode(errors="surrogateescape")


def place_of(listing: bytes) -> str:
    """The name in a `listed`."""
    return listing.rsplit(b";", 3)[0].decode(errors="surrogateescape")


def portable_reason(error: Exception) -> str:
    """An error's message on one line, the same on every machine: without memory addresses and folders."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x..", re.sub(r"'[^']*/", "'", one_line(error)))
