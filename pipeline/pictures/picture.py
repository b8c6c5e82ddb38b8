"""One picture of a figure: an image with a line below it, marked as right or wrong."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes

from raysmooth.actors.models.base_classifier import INVALID
from raysmooth.pipeline.report.class_names import name_of
from raysmooth.pipeline.report.figures.palette import BLACK, GREEN, VERMILION

LARGE = 128
"""Larger images are interpolated, as they may have more pixels than the figure; in smaller ones every pixel is visible.
"""

SOFT = "0.4"
"""The colour of text that is neither a right nor a wrong answer."""

_LONGEST_NAME = 14
"""Characters of a class's name below a picture."""


def plot_picture(axes: Axes, pixels: np.ndarray, below: str = "", colour: str = BLACK) -> None:
    """Plot `pixels`, float (C, H, W) with C of 1 or 3, in pixel units and clipped to [0, 1], with a line below it."""
    bare(axes)
    channels, height, width = pixels.shape
    clipped = np.clip(pixels.transpose(1, 2, 0), 0, 1)
    axes.imshow(
        clipped[..., 0] if channels == 1 else clipped,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest" if max(height, width) <= LARGE else "antialiased",
    )
    axes.set_xlabel(below, color=colour, fontsize=8, labelpad=2)


def bare(axes: Axes) -> None:
    """Reduce the axes to a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color="0.8", linewidth=0.5)


def verdict(
    answer: int,
    label: int | None,
    class_names: Mapping[int, str] = MappingProxyType({}),
    num_classes: int | None = None,
) -> tuple[str, str]:
    """A classifier's answer, by name if it has one, marked as right or wrong if there is a label, and its colour. From
    `num_classes` on, answers are those that a rejector rejects: neither right nor wrong.
    """
    if answer == INVALID:
        return "no answer", VERMILION
    if num_classes is not None and answer >= num_classes:
        rejected = answer - num_classes
        return f"rejected\n({name_of(rejected, class_names, _LONGEST_NAME) or rejected})", SOFT
    text = name_of(answer, class_names, _LONGEST_NAME) or str(answer)
    if label is None:
        return text, BLACK
    return (f"{text} \N{CHECK MARK}", GREEN) if answer == label else (f"{text} \N{BALLOT X}", VERMILION)
