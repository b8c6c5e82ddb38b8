"""From an image's pixels to the picture that is sent: clip, quantize, upscale, encode. All of it is part of f."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from raysmooth.actors.apis.answers import Picture
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, option_fields, read_options
from raysmooth.common.variant import Variant

pillow, features = LateModule("PIL.Image"), LateModule("PIL.features")

MODES = {1: "L", 3: "RGB"}
"""Pillow's modes by the number of channels that an image file may have here."""


Entry = TypeVar("Entry")


@checked_dataclass(frozen=True)
class NoOptions(Options):
    """Of an entry that has none."""


@checked_dataclass(frozen=True)
class PngOptions(Options):
    """`level`: how hard zlib tries. Noise can hardly be compressed: 1 is fast, and 9 gains a hundredth."""

    level: Annotated[int, Field(ge=0, le=9)] = 1


@checked_dataclass(frozen=True)
class JpegOptions(Options):
    """`quality` as Pillow counts it. `subsampling`: 0 keeps all colour (4:4:4), 1 is 4:2:2, 2 is 4:2:0."""

    quality: Annotated[int, Field(ge=1, le=100)] = 95
    subsampling: Annotated[int, Field(ge=0, le=2)] = 0


@dataclass(frozen=True)
class EncodingEntry:
    """A kind of image file. `save` are Pillow's options for `Image.save`. `exact`: the file has every pixel's value, so
    that neither its options nor its encoder are part of f.
    """

    summary: str
    options: type[Options]
    media_type: str
    save: Callable[[Any], dict[str, Any]]
    exact: bool


ENCODINGS: Registry[EncodingEntry] = Registry(
    "encoding",
    {
        "png": EncodingEntry(
            "lossless; option level=1, from 0 to 9",
            PngOptions,
            "image/png",
            lambda options: {"format": "PNG", "compress_level": options.level},
            exact=True,
        ),
        "jpeg": EncodingEntry(
            "smaller, and another f; options quality=95, subsampling=0",
            JpegOptions,
            "image/jpeg",
            lambda options: {"format": "JPEG", "quality": options.quality, "subsampling": options.subsampling},
            exact=False,
        ),
    },
)


@dataclass(frozen=True)
class Chosen(Generic[Entry]):
    """An entry of a registry with its options. `str()` is its canonical text."""

    written: Variant
    entry: Entry
    options: Any

    def __str__(self) -> str:
        return str(self.written)


class Encoding(Chosen[EncodingEntry]):
    """How a picture becomes a file."""

    @property
    def identity(self) -> str:
        """All of it that decides what an API sees: the options and Pillow's version matter where pixels change."""
        if self.entry.exact:
            return self.written.name
        options = ",".join(f"{name}={getattr(self.options, name)}" for name in option_fields(self.entry.options))
        return f"{self.written.name}:{options}; Pillow {pillow.__version__}, libjpeg {features.version('jpg')}"

    def encode(self, pixels: np.ndarray) -> bytes:
        """The file of `pixels`, uint8 (H, W, C), with one or three channels."""
        height, width, channels = pixels.shape
        image = pillow.frombytes(MODES[channels], (width, height), np.ascontiguousarray(pixels).tobytes())
        buffer = io.BytesIO()
        image.save(buffer, **self.entry.save(self.options))
        return buffer.getvalue()


def read_encoding(text: str) -> Encoding:
    """The encoding "png", "png:level=6" or "jpeg:quality=95,subsampling=0". Raises RaysmoothError for another text."""
    written = Variant.parse_entry(text, "encoding", "jpeg:quality=95")
    entry = ENCODINGS[written.name]
    return Encoding(written, entry, read_options(entry.options, written, "encoding"))


@checked_dataclass(frozen=True)
class FactorOptions(Options):
    """`factor`: how many times as high and as wide."""

    factor: Annotated[int, Field(ge=2, le=64)]


@dataclass(frozen=True)
class UpscaleEntry:
    """`enlarge`, of pixels (H, W, C) and the options, gives pixels of the same type. `factor`, of the options, is how
    many times as high and as wide they are.
    """

    summary: str
    options: type[Options]
    enlarge: Callable[[np.ndarray, Any], np.ndarray]
    factor: Callable[[Any], int]


UPSCALES: Registry[UpscaleEntry] = Registry(
    "upscale",
    {
        "none": UpscaleEntry("the size as it is", NoOptions, lambda pixels, options: pixels, lambda options: 1),
        "nearest": UpscaleEntry(
            "each pixel becomes a square; option factor, 2 or more",
            FactorOptions,
            lambda pixels, options: pixels.repeat(options.factor, 0).repeat(options.factor, 1),
            lambda options: int(options.factor),
        ),
    },
)


class Upscale(Chosen[UpscaleEntry]):
    """How a picture is enlarged."""

    @property
    def factor(self) -> int:
        """How many times as high and as wide pictures become."""
        return self.entry.factor(self.options)


def read_upscale(text: str) -> Upscale:
    """The upscale "none" or "nearest:factor=4". Raises RaysmoothError for another text."""
    if text.strip().isdecimal():
        raise RaysmoothError(f"--upscale {printable(text)}: write nearest:factor={printable(text.strip())}")
    written = Variant.parse_entry(text, "upscale", "nearest:factor=4")
    entry = UPSCALES[written.name]
    return Upscale(written, entry, read_options(entry.options, written, "upscale"))


def check_channels(channels: int, takes_numbers: bool) -> None:
    """Raises RaysmoothError if images with this number of channels cannot be put into a file."""
    if not takes_numbers and channels not in MODES:
        raise RaysmoothError(
            f"image files have 1 or 3 channels, the images have {channels}: use an API of numbers, oip"
        )


def picture(pixels: np.ndarray, encoding: Encoding, upscale: Upscale, takes_numbers: bool = False) -> Picture:
    """The picture of `pixels`, float32 (C, H, W), pixel units, unclipped, as they come from the denoiser.

    They are clipped to [0, 1], and for an image file rounded to 255ths, halves to even numbers. Raises ValueError for
    pixels that are not numbers.
    """
    if np.isnan(pixels).any():
        raise ValueError("its pixels are not numbers")
    clipped = pixels.clip(0, 1).transpose(1, 2, 0)
    if takes_numbers:
        enlarged = upscale.entry.enlarge(clipped, upscale.options)
        return Picture(np.ascontiguousarray(enlarged.transpose(2, 0, 1), np.float32))
    whole = upscale.entry.enlarge(np.rint(clipped * np.float32(255)).astype(np.uint8), upscale.options)
    return Picture(whole, encoding.encode(whole), encoding.entry.media_type)
