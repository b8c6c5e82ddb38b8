"""Certification curves."""

from math import inf
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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
from raysmooth.pipeline.report.figures.figure_text import COLUMN, LABEL, TICK, radius_label, set_formula, wrapped
from raysmooth.pipeline.report.figures.line_styles import LineStyle, line_styles, styles_of
from raysmooth.pipeline.report.figures.palette import colours_of
from raysmooth.pipeline.report.sigma_words import by_level, level_words, with_sigma

PATTERNS: list[Any] = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2.5, 1))]
_MARKERS = ["", "o", "s", "^", "D", "v", "P", "X"]
"""By the numbers of a LineStyle."""

MOST_LINES = 24
"""Most lines of a legend before it is shortened, where possible."""


def plot_curves(rows: pd.DataFrame, width: float = COLUMN) -> Figure:
    """Certified accuracy against radius, one line per run, in a figure `width` inches wide, without a title.

    `rows` are certificate rows of one run or more. Each line is the exact step function of its rows and falls to 0
    after the run's largest radius. Colours, dashes and markers are those of `line_styles`. A run that decides one
    radius is a point at that radius. Raises RaysmoothError if there are no rows, and for rows in several norms: their
    radii have no common axis.
    """
    runs = describe_runs(rows)
    refuse_mixed_norms(runs)
    styles = line_styles(runs)
    colours = colours_of(1 + max(style.colour for style in styles.values()))
    labels = run_labels(runs)
    figure = Figure(layout="constrained")
    axes, parts = figure.add_subplot(), by_run(rows)
    handles = [
        _plot(axes, parts[run], label, colours[styles[run].colour], styles[run])
        for label, run in zip(labels, runs.index, strict=True)
    ]
    _style_axes(axes, runs)
    axes.set_ylabel(_upper(quantity_of(runs)), fontsize=LABEL)
    lines = _legend(figure, width, *_shorter(runs, labels, handles))
    figure.set_size_inches(width, 0.35 + min(0.62 * width, 3.2) + 0.14 * lines)
    return figure


def plot_panels(rows: pd.DataFrame, width: float = COLUMN) -> Figure:
    """The same with a panel for each sigma, in which colour and dashes stand for the model; raises as `plot_curves`
    does.
    """
    runs = describe_runs(rows)
    refuse_mixed_norms(runs)
    names, parts = run_names(runs), by_run(rows)
    levels = by_level(runs)
    known = list(dict.fromkeys(names))
    colours, styles = colours_of(len(known)), dict(zip(known, styles_of(known), strict=True))
    high = -(-len(levels) // 2)
    figure = Figure(layout="constrained")
    grid = figure.subplots(high, min(2, len(levels)), sharey=True, squeeze=False)
    handles: dict[str, Line2D] = {}
    for axes, (level, own) in zip(grid.flat, levels, strict=False):
        for run in own.index:
            name = names[run]
            line = _plot(axes, parts[run], name, colours[styles[name].colour], styles[name])
            handles.setdefault(name, line)
        _style_axes(axes, own)
        unfinished = "" if (own["rows"] >= own["images"]).all() else " (unfinished)"
        axes.set_title(f"{level}{unfinished}", fontsize=LABEL)
    for axes in grid.flat[len(levels) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(_upper(quantity_of(runs)), fontsize=LABEL)
    lines = _legend(figure, width, known, [handles[name] for name in known])
    figure.set_size_inches(width, 0.1 + (0.5 + min(0.38 * width, 2.1)) * high + 0.14 * lines)
    return figure


def curves_caption(runs: pd.DataFrame) -> str:
    """What stands below the figure in a paper: it holds no caption itself."""
    return f"{_upper(quantity_of(runs))} against {runs['norm'].iloc[0]} radius. {caption(runs)}."


def _plot(axes: Axes, rows: pd.DataFrame, label: str, colour: str, style: LineStyle) -> Line2D:
    looks: dict[str, Any] = {"drawstyle": "steps-pre", "linestyle": PATTERNS[style.dash], "linewidth": 1.3}
    if style.marker:
        # The places are fractions of the axes' diagonal along the line; those of other markers lie between them.
        looks |= {"marker": _MARKERS[style.marker], "markersize": 3.5, "markevery": (0.03 * style.colour, 0.2)}
    if asked_radius(rows) < inf:
        looks = {"marker": _MARKERS[style.point], "linestyle": "none", "markersize": 5}
    return axes.plot(*certification_curve(rows), label=label, color=colour, **looks)[0]


def _style_axes(axes: Axes, runs: pd.DataFrame) -> None:
    axes.set(xlim=(0, None), ylim=(0, 1.02))
    set_formula(axes.set_xlabel(radius_label(runs["norm"].iloc[0]), fontsize=LABEL))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.tick_params(labelsize=TICK)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _upper(words: str) -> str:
    return words[0].upper() + words[1:]


def quantity_of(runs: pd.DataFrame) -> str:
    """The quantity on the vertical axis."""
    # Where runs with and without labels are plotted together, the legend marks those without.
    return "certified" if varies(runs["quantity"]) else runs["quantity"].iloc[0]


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
    names, styles = run_names(runs), line_styles(runs)
    alone = [with_sigma(name, sigma) for name, sigma in zip(names, runs["sigma"], strict=True)]
    if labels != alone or len(set(names)) + runs["sigma"].nunique() > MOST_LINES or len(runs) <= MOST_LINES:
        return labels, handles
    models = {
        name: Line2D([], [], color=line.get_color(), linewidth=1.3, marker=_MARKERS[styles[run].marker], markersize=3.5)
        for run, name, line in zip(runs.index, names, handles, strict=True)
    }
    levels = {
        level_words(sigma): Line2D([], [], color="0.3", linestyle=PATTERNS[styles[run].dash], linewidth=1.3)
        for run, sigma in zip(runs.index, runs["sigma"], strict=True)
    }
    return [*models, *levels], [*models.values(), *levels.values()]


def _legend(figure: Figure, width: float, labels: list[str], handles: list[Line2D]) -> int:
    """Put a legend below the figure, in two columns where the longest labels of both halves fit side by side; returns
    its number of lines.
    """
    most = int(16 * width)  # characters of a line
    labels = [wrapped(label, most - 9) for label in labels]
    half = (len(labels) + 1) // 2
    two = sum(max(map(len, part), default=0) for part in (labels[:half], labels[half:])) <= most - 16
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2 if two else 1,
        fontsize=TICK,
        frameon=False,
        handlelength=2.6,
    )
    return "\n".join(labels).count("\n") // (2 if two else 1) + 1
