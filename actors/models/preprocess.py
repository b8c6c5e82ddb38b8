"""Normalisation, the first layer of a classifier. Noise and denoiser come before it, in pixel units."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from raysmooth.actors.models.networks.input_size import resize_layer
from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.late_imports import LateCallable, LateModule
from raysmooth.common.numbers import number
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")


@dataclass(frozen=True)
class Preprocess:
    """Mean and standard deviation of each channel, in pixel units; both empty: no normalisation."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


_NORMALIZE = LateCallable("raysmooth.actors.models.networks.normalize:Normalize")
_NORMALIZE_EACH = LateCallable("raysmooth.actors.models.networks.ensemble:NormalizeEach")

EACH = ";"
"""Between the normalisations of an ensemble's members, where they differ."""

PREPROCESS: Registry[Preprocess] = Registry(
    "preprocess",
    {
        "none": Preprocess(),
        "cifar10": Preprocess((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        # The SmoothAdv checkpoints (Salman et al. 2019) are centred, not scaled.
        "cifar10-centred": Preprocess((0.4914, 0.4822, 0.4465), (1.0, 1.0, 1.0)),
        "imagenet": Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        # TensorFlow's EfficientNet-Lite: (grey level - 127) / 128.
        "efficientnet-lite": Preprocess((127 / 255,) * 3, (128 / 255,) * 3),
    },
)


def preprocess_text(mean: Sequence[float], std: Sequence[float]) -> str:
    """The text that `parse_preprocess` reads as these constants, which are those of float32 numbers."""
    return "/".join(
        ",".join(np.format_float_positional(np.float32(value), trim="-") for value in values) for values in (mean, std)
    )


MOST_MEAN, MOST_DEVIATION = 1.0, 10.0
"""Pixels in [0, 1] have a mean of at most 1. Their deviation is at most 1/2, and published constants have up to 1, for
no scaling; 10 leaves room for other scales, and none for deviations of grey levels from 0 to 255."""

GREY_LEVELS = 255


def parse_preprocess(text: str) -> "torch.nn.Module":
    """The layer of `read_preprocess`; of several texts with a semicolon between them, that of an ensemble's members."""
    if EACH in text:
        return _NORMALIZE_EACH([parse_preprocess(part) for part in text.split(EACH)])
    entry = read_preprocess(text)
    return _NORMALIZE(entry.mean, entry.std) if entry.mean else torch.nn.Identity()


def input_layers(resizing: str, preprocess: str) -> "torch.nn.Module":
    """What stands before a classifier: the layer of a resizing (`InputSize.parse`), if any, and of `preprocess`."""
    resize, normalize = resize_layer(resizing), parse_preprocess(preprocess)
    return normalize if resize is None else torch.nn.Sequential(resize, normalize)


def read_preprocess(text: str) -> Preprocess:
    """The normalisation named by `text`: an entry of `PREPROCESS`, or explicit constants in pixel units.

    Constants are means, a slash, and standard deviations, one per channel: "0.48,0.45,0.40/0.22,0.22,0.22"; all of them
    may be fractions, "33/255/79/255". Raises RaysmoothError for an unknown name, text without numbers, unequal lengths,
    a deviation <= 0, and constants of pixels from 0 to 255.
    """
    if text in PREPROCESS:
        return PREPROCESS[text]
    if "/" not in text:
        how = "or constants such as 0.48,0.45,0.40/0.22,0.22,0.22"
        raise RaysmoothError(f"unknown preprocess '{text}': {nearest(text, PREPROCESS)}, {how}")
    how = "write MEANS/STDS, such as 0.48,0.45,0.40/0.22,0.22,0.22"
    try:
        mean, std = (tuple(number(part) for part in half.split(",")) for half in _halves(text))
    except ValueError:
        raise RaysmoothError(f"preprocess '{text}' is not two lists of numbers: {how}") from None
    if len(mean) != len(std):
        raise RaysmoothError(f"preprocess '{text}' has {len(mean)} means but {len(std)} standard deviations: {how}")
    if not all(isfinite(value) for value in mean + std) or min(std) <= 0:
        raise RaysmoothError(f"preprocess '{text}' needs finite means and standard deviations above 0: {how}")
    if (scaled := in_pixel_units(mean, std)) is not None:
        raise RaysmoothError(
            f"preprocess '{text}' is for pixels from 0 to 255, here they are in [0, 1]: write {scaled}"
        )
    return Preprocess(mean, std)


def in_pixel_units(mean: Sequence[float], std: Sequence[float]) -> str | None:
    """The text of constants for pixels in [0, 1], where these are for pixels from 0 to 255; None where they are not.
    Beside means of grey levels a deviation of 1 is one too: Caffe's networks subtract the mean alone.
    """
    grey_means = max(mean) > MOST_MEAN
    grey = grey_means, max(std) > MOST_DEVIATION or (grey_means and min(std) >= 1)
    if not any(grey):
        return None
    scaled = (
        [value / GREY_LEVELS if own else value for value in part] for part, own in zip((mean, std), grey, strict=True)
    )
    return "/".join(",".join(f"{value:.6g}" for value in part) for part in scaled)


def _halves(text: str) -> list[str]:
    """Means and deviations of a text, in which both may be fractions: the slash in the middle is between them."""
    halves = text.split("/")
    if len(halves) == 2:
        return halves
    parts = text.split(",")
    middle = parts[len(parts) // 2].split("/")
    if len(parts) % 2 and len(middle) == 4:
        before, after = parts[: len(parts) // 2], parts[len(parts) // 2 + 1 :]
        return [",".join([*before, "/".join(middle[:2])]), ",".join(["/".join(middle[2:]), *after])]
    raise ValueError("no slash is the one in the middle")
