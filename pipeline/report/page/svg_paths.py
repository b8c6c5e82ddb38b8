"""Curves and histograms as SVG paths, small enough for one page with all runs.

Coordinates are those of a view box, x to the right and y downwards; the page adds axes and labels around it.
"""

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


def ticks(reach: float, most: int) -> list[float]:
    """Round numbers from 0 to `reach`, at most about `most`."""
    return [float(tick) for tick in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(0, reach) if tick <= reach]
