"""One image of a data set: from its encoded bytes to pixels, or to the reason why it cannot be read."""

import io
import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from raysmooth.common.errors import RaysmoothError, one_line

# The formats that Pillow may try. By default it tries all it knows, some of which start other programs (EPS runs
# Ghostscript), and image files are of unknown origin.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF", "AVIF", "JPEG2000")
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".avif", ".jp2",
)  # fmt: skip
MOST_PIXELS = 2**26
"""Pixels of an image after resizing; a narrow image would become thousands of times as large."""


@dataclass(frozen=True)
class Example:
    """`image`: float32 (C, H, W) in pixel units, 0..1; `label`: an int in 0..K-1, or None if unlabelled."""

    image: np.ndarray
    label: int | None


class UnreadableImage(Exception):
    """Image `index` of its data set cannot be decoded, framed or found; `reason` is one line.

    The reason is the same on every machine and in every run (no folder, no memory address), since it is written to
    result rows, which are compared between runs.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(index, reason)  # both, so that it survives pickling between processes
        self.index = index
        self.reason = reason

    def __str__(self) -> str:
        return f"image {self.index}: {self.reason}"


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


def decode(index: int, content: bytes, cut: Cut, keep_grey: bool) -> np.ndarray:
    """Decode an image and cut it to size: uint8 (C, H, W).

    With `keep_grey`, grey images (Pillow's modes 1, L, LA) keep one channel; all others become RGB. An alpha channel
    is dropped and EXIF orientation is not applied, as in torchvision; of an animation the first frame is taken. Raises
    UnreadableImage, also for images of more than 8 bits a channel, which Pillow would silently clip or reduce.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.mode == "F" or image.mode.startswith("I") or _reduces(image):
            raise UnreadableImage(index, f"more than 8 bits a channel (mode {image.mode}): store it with 8 bits")
        image = image.convert("L" if keep_grey and image.mode in ("1", "L", "LA") else "RGB")
        return channels_first(np.asarray(cut.apply(index, image)))
    except UnreadableImage:
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        what = f"{len(content)} bytes" if content else "no bytes at all"
        raise UnreadableImage(index, f"not an image of a known format ({what})") from None
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error and more for damaged bytes: no list is complete.
        raise UnreadableImage(index, portable_reason(error)) from error


def _reduces(image: Image.Image) -> bool:
    """Whether Pillow will reduce 16 bits a channel to 8: it names the raw mode so, as in "RGB;16B"."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


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
