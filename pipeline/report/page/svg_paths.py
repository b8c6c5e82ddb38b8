"""Curves and histograms as SVG paths, small enough for one page with all runs.

Coordinates are those of a view box, x to the right and y downwards; the page adds axes and labels around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator


@dataclass(frozen=True)
class Box:
    """A view box `width` by `height` units, in which x runs from 0 to `reach` and y from 0 to `top`, upwards."""

    width: int
    height: int
    reach: float
    top: float = 1.0

    def x(self, value: float) -> float:
        return round(self.width * value / self.reach, 2)

    def y(self, value: float) -> float:
        return round(self.height * (1 - value / self.top), 2)


def curve_path(radii: np.ndarray, heights: np.ndarray, box: Box) -> str:
    """The step function with the corners of `certification_curve`, exact at every unit of the box's width."""
    columns = np.arange(box.width + 1)
    at = np.searchsorted(radii, columns * box.reach / box.width, side="left")
    tall = np.append(heights, 0.0)[at]
    falls = np.flatnonzero(np.diff(tall)) + 1
    lower = np.round(box.height * (1 - tall[falls] / box.top), 1)
    path = f"M0 {box.y(tall[0])}" + "".join(f"H{x}V{y:g}" for x, y in zip(falls.tolist(), lower.tolist(), strict=True))
    return path + f"H{box.width}" if tall[-1] > 0 else path  # otherwise it ends where it reaches 0


MARKERS = {
    1: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    2: "M-3.5-3.5h7v7h-7z",
    3: "M0-4.5L4.4 3.5H-4.4z",
    4: "M0-4.8L4.8 0L0 4.8L-4.8 0z",
    5: "M0 4.5L4.4-3.5H-4.4z",
    6: "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    7: "M-4.5-2.5l2-2L0-2l2.5-2.5l2 2L2 0l2.5 2.5l-2 2L0 2l-2.5 2.5l-2-2L-2 0z",
}
"""The markers of `LineStyle` by their numbers, as paths around 0: circle, square, triangles, diamond, plus, cross."""

_APART = 90
"""Units between two markers of a line."""


def marker_places(radii: np.ndarray, heights: np.ndarray, box: Box, colour: int) -> list[tuple[float, float]]:
    """Places on the curve of `curve_path` for markers; those of neighbouring colours lie apart."""
    ends = box.width * radii[-1] / box.reach
    columns = np.arange(_APART / 7 * (colour % 7 + 0.5), ends, _APART) if ends > _APART else np.array([ends / 2])
    at = np.searchsorted(radii, np.floor(columns) * box.reach / box.width, side="left")
    return [(round(float(x), 1), box.y(float(y))) for x, y in zip(np.floor(columns), heights[at], strict=True)]


def bar_paths(shares: np.ndarray, box: Box) -> list[str]:
    """Stacked bars over equally wide bins: a filled path for each row of `shares`, float64 (kinds, bins)."""
    wide = box.width / shares.shape[1]
    paths, below = [], np.zeros(shares.shape[1])
    for own in shares:
        parts = [
            f"M{wide * place + 0.5:.2f} {box.y(low)}h{wide - 1:.2f}V{box.y(low + share)}h{1 - wide:.2f}z"
            for place, (low, share) in enumerate(zip(below, own, strict=True))
            if share > 0
        ]
        paths.append("".join(parts))
        below = below + own
    return paths


def cell_paths(counts: np.ndarray, steps: Sequence[tuple[int, int]], box: Box) -> list[str]:
    """The cells of a histogram in two dimensions, int (bins, bins), which fill the box: for each of `steps`, the first
    and the last number of images, one filled path with all cells that have such a number.
    """
    wide, tall = box.width / len(counts), box.height / len(counts)
    paths = []
    for first, last in steps:
        places = np.argwhere((counts >= first) & (counts <= last)).tolist()
        cells = [f"M{wide * x:g} {box.height - tall * y:g}h{wide:g}v{-tall:g}h{-wide:g}z" for x, y in places]
        paths.append("".join(cells))
    return paths


def ticks(reach: float, most: int) -> list[float]:
    """Round numbers from 0 to `reach`, at most about `most`."""
    return [float(tick) for tick in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(0, reach) if tick <= reach]
