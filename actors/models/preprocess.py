"""Normalisation, the first layer of a classifier. Noise and denoiser come before it, in pixel units."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.late_imports import LateCallable, LateModule
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

PREPROCESS: Registry[Preprocess] = Registry(
    "preprocess",
    {
        "none": Preprocess(),
        "cifar10": Preprocess((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        # The SmoothAdv checkpoints (Salman et al. 2019) are centred, not scaled.
        "cifar10-centred": Preprocess((0.4914, 0.4822, 0.4465), (1.0, 1.0, 1.0)),
        "imagenet": Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    },
)


def preprocess_text(mean: Sequence[float], std: Sequence[float]) -> str:
    """The text that `parse_preprocess` reads as these constants, which are those of float32 numbers."""
    return "/".join(
        ",".join(np.format_float_positional(np.float32(value), trim="-") for value in values) for values in (mean, std)
    )


def parse_preprocess(text: str) -> "torch.nn.Module":
    """The layer named by `text`: an entry of `PREPROCESS`, or explicit constants in pixel units.

    Constants are means, a slash, and standard deviations, one per channel: "0.48,0.45,0.40/0.22,0.22,0.22". Raises
    RaysmoothError for an unknown name, text without numbers, unequal lengths, or a deviation <= 0.
    """
    if text in PREPROCESS:
        entry = PREPROCESS[text]
        return _NORMALIZE(entry.mean, entry.std) if entry.mean else torch.nn.Identity()
    if "/" not in text:
        how = "or constants such as 0.48,0.45,0.40/0.22,0.22,0.22"
        raise RaysmoothError(f"unknown preprocess '{text}': {nearest(text, PREPROCESS)}, {how}")
    how = "write MEANS/STDS, such as 0.48,0.45,0.40/0.22,0.22,0.22"
    try:
        mean, std = (tuple(float(number) for number in half.split(",")) for half in text.split("/"))
    except ValueError:
        raise RaysmoothError(f"preprocess '{text}' is not two lists of numbers: {how}") from None
    if len(mean) != len(std):
        raise RaysmoothError(f"preprocess '{text}' has {len(mean)} means but {len(std)} standard deviations: {how}")
    if not all(isfinite(number) for number in mean + std) or min(std) <= 0:
        raise RaysmoothError(f"preprocess '{text}' needs finite means and standard deviations above 0: {how}")
    return _NORMALIZE(mean, std)
