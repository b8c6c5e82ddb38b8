"""Certification curves."""

import re
from collections.abc import Collection
from math import inf
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.metrics import (
    asked_radius,
    certified_accuracy,
    certified_radii,
    certified_share,
    labelled,
)
from raysmooth.pipeline.analysis.run_facts import describe_runs, varies
from raysmooth.pipeline.analysis.run_selection import refuse_mixed_norms
from raysmooth.pipeline.report.captions import caption, run_labels, run_names
from raysmooth.pipeline.report.figures.palette import PALETTE

_DASHES: list[Any] = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2.5, 1))]
_MOST_LINES = 24
"""Most lines of a legend before it is shortened, where possible."""

_MARKERS = ["o", "s", "^", "D", "v"]


def plot_curves(rows: pd.DataFrame) -> Figure:
    """Certified accuracy against radius, one line per run, in a figure 1000 pixels wide at 150 dpi.

    `rows` are certificate rows of one run or more. Each line is the exact step function of its rows and falls to 0
    after the run's largest radius. Colour stands for the model (denoiser, objective, and whatever else differs), dashes
    for sigma; where only sigma differs, colour stands for sigma. A run that decides one radius is a point at that
    radius, with a marker in place of dashes. Raises RaysmoothError if there are no rows, and for rows in several norms:
    their radii have no common axis.
    """
    runs = describe_runs(rows)
    refuse_mixed_norms(runs)
    colours, dashes = line_styles(runs)
    labels = run_labels(runs)
    figure = Figure(layout="constrained")
    axes, parts = figure.add_subplot(), by_run(rows)
    handles = [
        _plot(axes, parts[run], label, colour, dash)
        for label, run, colour, dash in zip(labels, runs.index, colours, dashes, strict=True)
    ]
    _style_axes(axes, runs)
    axes.set_ylabel(quantity_of(runs))
    _caption(figure, runs)
    lines = _legend(figure, *_shorter(runs, labels, handles))
    figure.set_size_inches(1000 / 150, 3.9 + 0.17 * lines)
    return figure


def plot_panels(rows: pd.DataFrame) -> Figure:
    """The same with a panel for each sigma, in which colour stands for the model; raises as `plot_curves` does."""
    runs = describe_runs(rows)
    refuse_mixed_norms(runs)
    names, parts = run_names(runs), by_run(rows)
    sigmas = sorted(runs["sigma"].unique())
    known = list(dict.fromkeys(names))
    colours = dict(zip(known, colours_of(len(known)), strict=True))
    high = -(-len(sigmas) // 2)
    figure = Figure(layout="constrained")
    grid = figure.subplots(high, min(2, len(sigmas)), sharey=True, squeeze=False)
    handles: dict[str, Line2D] = {}
    for axes, sigma in zip(grid.flat, sigmas, strict=False):
        for run in (own := runs[runs["sigma"] == sigma]).index:
            name = names[run]
            handles.setdefault(name, _plot(axes, parts[run], name, colours[name], 0))
        _style_axes(axes, own)
        unfinished = "" if (own["rows"] >= own["images"]).all() else " (unfinished)"
        axes.set_title(f"sigma {sigma}{unfinished}", fontsize=9)
    for axes in grid.flat[len(sigmas) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(quantity_of(runs))
    _caption(figure, runs, without={"sigma"})
    lines = _legend(figure, known, [handles[name] for name in known])
    figure.set_size_inches(1000 / 150, 0.9 + 2.6 * high + 0.17 * lines)
    return figure


def line_styles(runs: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Each run's colour, and the number of its dashes (or marker); `runs` are those of `describe_runs`."""
    names, sigmas = run_names(runs), runs["sigma"]
    coloured, dashed = (names, sigmas) if varies(names) else (sigmas, names)
    colours, dashes = pd.factorize(coloured)[0], pd.factorize(dashed)[0]
    palette = colours_of(int(max(colours)) + 1)
    return [palette[colour] for colour in colours], [int(dash) % len(_DASHES) for dash in dashes]


def _plot(axes: Axes, rows: pd.DataFrame, label: str, colour: str, dash: int) -> Line2D:
    style: dict[str, Any] = {"drawstyle": "steps-pre", "linestyle": _DASHES[dash], "linewidth": 1.6}
    if asked_radius(rows) < inf:
        style = {"marker": _MARKERS[dash], "linestyle": "none"}
    return axes.plot(*certification_curve(rows), label=label, color=colour, **style)[0]


def _style_axes(axes: Axes, runs: pd.DataFrame) -> None:
    axes.set(xlim=(0, None), ylim=(0, 1.02))
    axes.set_xlabel(f"{runs['norm'].iloc[0]} radius")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def quantity_of(runs: pd.DataFrame) -> str:
    """The quantity on the vertical axis."""
    # Where runs with and without labels are plotted together, the legend marks those without.
    return "certified" if varies(runs["quantity"]) else runs["quantity"].iloc[0]


def _caption(figure: Figure, runs: pd.DataFrame, without: Collection[str] = ()) -> None:
    # Lines of the title break between phrases only: the spaces inside them become no-break spaces.
    phrases = re.sub(r"(?<![,:]) ", "\N{NO-BREAK SPACE}", caption(runs, without))
    figure.suptitle(fill(phrases, 105), x=0.02, ha="left", fontsize=8)


def certification_curve(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The corners of one run's curve: radii, ascending from 0, and heights, both float64 (M,).

    The curve at any r has the height of the first corner at or right of r (matplotlib's steps-pre): a radius
    counts up to and including itself. A run that decides one radius has that corner only: elsewhere its curve is known
    only to be non-increasing.
    """
    share = certified_accuracy if labelled(rows) else certified_share
    if (asked := asked_radius(rows)) < inf:
        return np.array([asked]), share(rows, [asked])
    radii = np.unique(np.append(0.0, certified_radii(rows)))
    radii = radii[radii >= 0]
    if len(radii) > 1:
        radii = np.append(radii, np.nextafter(radii[-1], np.inf))
    return radii, share(rows, radii)


def _shorter(runs: pd.DataFrame, labels: list[str], handles: list[Line2D]) -> tuple[list[str], list[Line2D]]:
    """A legend's labels and handles: one for each run or, for many runs that differ only in model and sigma, one for
    each model and one for each sigma.
    """
    names = run_names(runs)
    alone = [f"{name}, sigma {sigma}" for name, sigma in zip(names, runs["sigma"], strict=True)]
    if labels != alone or len(set(names)) + runs["sigma"].nunique() > _MOST_LINES or len(runs) <= _MOST_LINES:
        return labels, handles
    models = {
        name: Line2D([], [], color=line.get_color(), linewidth=1.6) for name, line in zip(names, handles, strict=True)
    }
    levels = {
        f"sigma {sigma}": Line2D([], [], color="0.3", linestyle=_DASHES[dash], linewidth=1.6)
        for sigma, dash in zip(runs["sigma"], line_styles(runs)[1], strict=True)
    }
    return [*models, *levels], [*models.values(), *levels.values()]


def _legend(figure: Figure, labels: list[str], handles: list[Line2D]) -> int:
    """Put a legend below the figure, in two columns where the longest labels of both halves fit side by side; returns
    its number of lines.
    """
    labels = [fill(label, 95) for label in labels]
    half = (len(labels) + 1) // 2
    two = sum(max(map(len, part), default=0) for part in (labels[:half], labels[half:])) <= 90
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if two else 1, fontsize=8, frameon=False)
    return "\n".join(labels).count("\n") // (2 if two else 1) + 1


def colours_of(size: int) -> list[str]:
    """`size` colours: the palette's if it has enough."""
    if size <= len(PALETTE):
        return PALETTE[:size]
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.9, size))]
