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
"""Of a legend; it is shortened, where that can be, if there would be more."""

_MARKERS = ["o", "s", "^", "D", "v"]


def plot_curves(rows: pd.DataFrame) -> Figure:
    """Certified accuracy against radius, a line a run, in a figure 1000 pixels wide at 150 dpi.

    `rows` are certificate rows of one run or more. Each line is the exact step function of its rows and falls
    to 0 behind the run's largest radius. Colour tells who (denoiser, objective, whatever else differs) and
    dashes tell sigma; where only sigma differs, colour tells sigma. A run that decides one radius is a point there,
    whose marker tells what dashes tell of lines. Raises RaysmoothError if there are no rows, and for rows in several norms:
    their radii have no axis in common.
    """
    runs = describe_runs(rows)
    refuse_mixed_norms(runs)
    colours, dashes = looks(runs)
    labels = run_labels(runs)
    figure = Figure(layout="constrained")
    axes, parts = figure.add_subplot(), by_run(rows)
    handles = [
        _plot(axes, parts[run], label, colour, dash)
        for label, run, colour, dash in zip(labels, runs.index, colours, dashes, strict=True)
    ]
    _dress(axes, runs)
    axes.set_ylabel(measure_of(runs))
    _caption(figure, runs)
    lines = _legend(figure, *_shorter(runs, labels, handles))
    figure.set_size_inches(1000 / 150, 3.9 + 0.17 * lines)
    return figure


def plot_panels(rows: pd.DataFrame) -> Figure:
    """The same, a panel for each sigma, in each of which colour tells who; refused as `plot_curves` is."""
    runs = describe_runs(rows)
    refuse_mixed_norms(runs)
    names, parts = run_names(runs), by_run(rows)
    sigmas = sorted(runs["sigma"].unique())
    known = list(dict.fromkeys(names))
    colours = dict(zip(known, colours_of(len(known)), strict=True))
    high = -(-len(sigmas) // 2)
    figure = Figure(layout="constrained")
    grid = figure.subplots(high, min(2, len(sigmas)), sharey=True, squeeze=False)
    drawn: dict[str, Line2D] = {}
    for axes, sigma in zip(grid.flat, sigmas, strict=False):
        for run in (own := runs[runs["sigma"] == sigma]).index:
            name = names[run]
            drawn.setdefault(name, _plot(axes, parts[run], name, colours[name], 0))
        _dress(axes, own)
        unfinished = "" if (own["rows"] >= own["images"]).all() else " (unfinished)"
        axes.set_title(f"sigma {sigma}{unfinished}", fontsize=9)
    for axes in grid.flat[len(sigmas) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(measure_of(runs))
    _caption(figure, runs, without={"sigma"})
    lines = _legend(figure, known, [drawn[name] for name in known])
    figure.set_size_inches(1000 / 150, 0.9 + 2.6 * high + 0.17 * lines)
    return figure


def looks(runs: pd.DataFrame) -> tuple[list[str], list[int]]:
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


def _dress(axes: Axes, runs: pd.DataFrame) -> None:
    axes.set(xlim=(0, None), ylim=(0, 1.02))
    axes.set_xlabel(f"{runs['norm'].iloc[0]} radius")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def measure_of(runs: pd.DataFrame) -> str:
    """What heights are of."""
    # Where both kinds of run are drawn, the legend tells those whose classes nobody could check.
    return "certified" if varies(runs["measure"]) else runs["measure"].iloc[0]


def _caption(figure: Figure, runs: pd.DataFrame, without: Collection[str] = ()) -> None:
    # Lines of the title break between phrases only: the spaces inside them become no-break spaces.
    phrases = re.sub(r"(?<![,:]) ", "\N{NO-BREAK SPACE}", caption(runs, without))
    figure.suptitle(fill(phrases, 105), x=0.02, ha="left", fontsize=8)


def certification_curve(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The corners of one run's curve: radii, ascending from 0, and heights, both float64 (M,).

    The curve at any r has the height of the first corner at or right of r (matplotlib's steps-pre): a radius
    counts up to and including itself. A run that decides one radius has that corner alone: nothing is known of its
    curve elsewhere but that it falls.
    """
    measure = certified_accuracy if labelled(rows) else certified_share
    if (asked := asked_radius(rows)) < inf:
        return np.array([asked]), measure(rows, [asked])
    radii = np.unique(np.append(0.0, certified_radii(rows)))
    radii = radii[radii >= 0]
    if len(radii) > 1:
        radii = np.append(radii, np.nextafter(radii[-1], np.inf))
    return radii, measure(rows, radii)


def _shorter(runs: pd.DataFrame, labels: list[str], handles: list[Line2D]) -> tuple[list[str], list[Line2D]]:
    """A legend's lines: one for each run; of many runs, which differ in who and sigma alone, one for each of either."""
    names = run_names(runs)
    alone = [f"{name}, sigma {sigma}" for name, sigma in zip(names, runs["sigma"], strict=True)]
    if labels != alone or len(set(names)) + runs["sigma"].nunique() > _MOST_LINES or len(runs) <= _MOST_LINES:
        return labels, handles
    who = {
        name: Line2D([], [], color=line.get_color(), linewidth=1.6) for name, line in zip(names, handles, strict=True)
    }
    levels = {
        f"sigma {sigma}": Line2D([], [], color="0.3", linestyle=_DASHES[dash], linewidth=1.6)
        for sigma, dash in zip(runs["sigma"], looks(runs)[1], strict=True)
    }
    return [*who, *levels], [*who.values(), *levels.values()]


def _legend(figure: Figure, labels: list[str], handles: list[Line2D]) -> int:
    """Put a legend below the figure; returns how many lines it has: in two columns where the longest labels of both
    halves fit side by side.
    """
    labels = [fill(label, 95) for label in labels]
    half = (len(labels) + 1) // 2
    two = sum(max(map(len, part), default=0) for part in (labels[:half], labels[half:])) <= 90
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if two else 1, fontsize=8, frameon=False)
    return "\n".join(labels).count("\n") // (2 if two else 1) + 1


def colours_of(size: int) -> list[str]:
    """So many colours: the palette's, as far as they go."""
    if size <= len(PALETTE):
        return PALETTE[:size]
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.9, size))]
