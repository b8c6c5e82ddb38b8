"""The denoising figure (Salman et al. 2020, figures 27-31): images, clean, noisy, and denoised by each denoiser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf
from textwrap import fill
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raysmooth.pipeline.pictures.picture import LARGE, plot_picture, verdict
from raysmooth.pipeline.report.class_names import named
from raysmooth.pipeline.report.figures.palette import BLACK
from raysmooth.pipeline.report.rounding import floored

PANEL, LARGE_PANEL, GAP, CAPTION, MARGIN, HEADING, LINE = 1.0, 1.6, 0.08, 0.2, 0.1, 0.2, 0.13
"""Inches: a picture's side, the side of a picture of more than LARGE pixels, the gap between two, the line below one,
the figure's margin, the heading of a group of columns, a line of other text.
"""

_LONGEST_NAME = 12
"""Characters of a class's name beside a row."""


@dataclass(frozen=True)
class Picture:
    """`pixels` float32 (C, H, W) in pixel units; `psnr` in dB against the clean image, inf if equal; `answer` is the
    classifier's label, None without a classifier.
    """

    pixels: np.ndarray
    psnr: float | None = None
    answer: int | None = None


@dataclass(frozen=True)
class Exhibit:
    """One image: clean, noisy by sigma, and denoised by (sigma, name of the denoiser). `class_names` are by label."""

    image_id: int
    label: int | None
    clean: Picture
    noisy: Mapping[float, Picture]
    denoised: Mapping[tuple[float, str], Picture]
    class_names: Mapping[int, str] = field(default_factory=dict)


_Row: TypeAlias = tuple[str, list[Picture | None], Exhibit]
"""Its head, a picture or None for each column, and its image."""


@dataclass
class _Grid:
    """A grid of pictures: `heads` of the columns, `rows`, `groups` of adjacent columns (heading, first, last); the
    rows' heads are to the left of column `headed`.
    """

    heads: list[str]
    rows: list[_Row]
    groups: list[tuple[str, int, int]] = field(default_factory=list)
    headed: int = 0

    @property
    def is_large(self) -> bool:
        """Whether any picture has more than LARGE pixels a side."""
        return any(max(one.pixels.shape) > LARGE for _, pictures, _ in self.rows for one in pictures if one is not None)


def plot_gallery(exhibits: Sequence[Exhibit], note: str = "") -> Figure:
    """Several images: one row each, with columns clean and, for each sigma, noisy and denoised by each denoiser. One
    image: the papers' layout, one column per sigma, the noisy images in the first row and a row for each denoiser.
    Every exhibit has the same sigmas and denoisers. `note` is printed below.
    """
    return _plot(_by_sigma(exhibits[0]) if len(exhibits) == 1 else _by_image(exhibits), note)


def _by_sigma(exhibit: Exhibit) -> _Grid:
    sigmas = list(exhibit.noisy)
    rows: list[_Row] = [("noisy", [exhibit.clean, *exhibit.noisy.values()], exhibit)]
    for name in dict.fromkeys(name for _, name in exhibit.denoised):
        rows.append((name, [None, *(exhibit.denoised[sigma, name] for sigma in sigmas)], exhibit))
    return _Grid([_title(exhibit).replace(", ", "\n"), *(f"sigma {sigma:g}" for sigma in sigmas)], rows, headed=1)


def _by_image(exhibits: Sequence[Exhibit]) -> _Grid:
    sigmas, names = list(exhibits[0].noisy), list(dict.fromkeys(name for _, name in exhibits[0].denoised))
    rows: list[_Row] = [(_title(exhibit), [exhibit.clean], exhibit) for exhibit in exhibits]
    grid = _Grid(["clean"], rows)
    for sigma in sigmas:
        grid.groups.append((f"sigma {sigma:g}", len(grid.heads), len(grid.heads) + len(names)))
        grid.heads += ["noisy", *names]
        for (_, pictures, _), exhibit in zip(grid.rows, exhibits, strict=True):
            pictures += [exhibit.noisy[sigma], *(exhibit.denoised[sigma, name] for name in names)]
    return grid


def _title(exhibit: Exhibit) -> str:
    if exhibit.label is None:
        return f"image {exhibit.image_id}"
    return f"image {exhibit.image_id}, label {named(exhibit.label, exhibit.class_names, _LONGEST_NAME)}"


def _plot(grid: _Grid, note: str) -> Figure:
    heads = ["\n".join(fill(line, 16) for line in head.splitlines()) for head in grid.heads]
    panel = LARGE_PANEL if grid.is_large else PANEL
    row_heads = [fill(head, 18) for head, _, _ in grid.rows]
    beside = LINE * (1 + max(head.count("\n") for head in row_heads)) + 2 * GAP
    firsts = {first for _, first, _ in grid.groups}
    lefts, x = [], MARGIN
    for column in range(len(heads)):
        x += beside if column == grid.headed else 0
        x += 2 * GAP if column in firsts else 0
        lefts.append(x)
        x += panel + GAP
    width = x - GAP + MARGIN
    lines = fill(note, int(width * 18)) if note else ""
    top = MARGIN + HEADING * bool(grid.groups) + LINE * (1 + max(head.count("\n") for head in heads)) + GAP
    height = top + len(grid.rows) * (panel + CAPTION) + (LINE * (1 + lines.count("\n")) if lines else 0) + MARGIN
    figure = Figure(figsize=(width, height))

    for left, head in zip(lefts, heads, strict=True):
        middle = (left + panel / 2) / width
        figure.text(middle, 1 - (top - GAP / 2) / height, head, fontsize=8, ha="center", va="bottom")
    for heading, first, last in grid.groups:
        ends = [lefts[first] / width, (lefts[last] + panel) / width]
        figure.text(sum(ends) / 2, 1 - MARGIN / height, heading, fontsize=8, ha="center", va="top", weight="bold")
        figure.add_artist(Line2D(ends, [1 - (MARGIN + HEADING - GAP / 2) / height] * 2, color="0.6", linewidth=0.8))
    for row, (head, (_, pictures, exhibit)) in enumerate(zip(row_heads, grid.rows, strict=True)):
        bottom = 1 - (top + row * (panel + CAPTION) + panel) / height
        for column, picture in enumerate(pictures):
            if picture is not None:
                axes = figure.add_axes((lefts[column] / width, bottom, panel / width, panel / height))
                plot_picture(axes, picture.pixels, *_label_below(picture, exhibit))
                axes.set_ylabel(head if column == grid.headed else "", fontsize=8)
    figure.text(MARGIN / width, MARGIN / height, lines, fontsize=7, color="0.4", va="bottom")
    return figure


def _label_below(picture: Picture, exhibit: Exhibit) -> tuple[str, str]:
    """The text below a picture, and its colour."""
    parts, colour = [], BLACK
    if picture.psnr is not None:
        parts.append("exact" if isinf(picture.psnr) else f"{floored(picture.psnr, 1)} dB")
    if picture.answer is not None:
        answer, colour = verdict(picture.answer, exhibit.label, exhibit.class_names)
        parts.append(answer)
    return ", ".join(parts), colour
