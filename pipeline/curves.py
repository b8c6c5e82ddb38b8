"""Certification curves."""

import re
from math import inf
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.metrics import asked_radius, certified_accuracy, certified_radii, certified_share, labelled
from pipeline.palette import PALETTE
from pipeline.wording import caption, describe_runs, run_labels, run_names, varies

_DASHES: list[Any] = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2.5, 1))]
_MARKERS = ["o", "s", "^", "D", "v"]


def draw_curves(rows: pd.DataFrame) -> Figure:
    """Certified accuracy against radius, a line a run, in a figure 1000 pixels wide at 150 dpi.

    `rows` are certificate rows of one run or more. Each line is the exact step function of its rows and falls
    to 0 behind the run's largest radius. Colour tells who (denoiser, objective, whatever else differs) and
    dashes tell sigma; where only sigma differs, colour tells sigma. A run that decides one radius is a point there,
    whose marker tells what dashes tell of lines. Raises Refusal if there are no rows.
    """
    runs = describe_runs(rows)
    names, sigmas = run_names(runs), runs["sigma"]
    coloured, dashed = (names, sigmas) if varies(names) else (sigmas, names)
    colours, dashes = pd.factorize(coloured)[0], pd.factorize(dashed)[0]
    palette = PALETTE if max(colours) < len(PALETTE) else _sequential(int(max(colours)) + 1)

    labels = [fill(label, 95) for label in run_labels(runs)]
    columns = _legend_columns(labels)
    legend_lines = "\n".join(labels).count("\n") // columns + 1
    figure = Figure(figsize=(1000 / 150, 3.9 + 0.17 * legend_lines), layout="constrained")
    axes = figure.add_subplot()
    for label, run, colour, dash in zip(labels, runs.index, colours, dashes, strict=True):
        own = rows[rows["run_id"] == run]
        style: dict[str, Any] = {"drawstyle": "steps-pre", "linestyle": _DASHES[dash % len(_DASHES)], "linewidth": 1.6}
        if asked_radius(own) < inf:
            style = {"marker": _MARKERS[dash % len(_MARKERS)], "linestyle": "none"}
        axes.plot(*certification_curve(own), label=label, color=palette[colour], **style)

    axes.set(xlim=(0, None), ylim=(0, 1.02))
    axes.set_xlabel(" / ".join(f"{norm} radius" for norm in runs["norm"].unique()))
    # Where both kinds of run are drawn, the legend tells those whose classes nobody could check.
    axes.set_ylabel("certified" if varies(runs["measure"]) else runs["measure"].iloc[0])
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    # Lines of the title break between phrases only: the spaces inside them become no-break spaces.
    phrases = re.sub(r"(?<![,:]) ", "\N{NO-BREAK SPACE}", caption(runs))
    figure.suptitle(fill(phrases, 105), x=0.02, ha="left", fontsize=8)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return figure


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


def _legend_columns(labels: list[str]) -> int:
    """Two where the longest labels of both halves fit side by side, else one."""
    half = (len(labels) + 1) // 2
    return 2 if sum(max(map(len, part), default=0) for part in (labels[:half], labels[half:])) <= 90 else 1


def _sequential(size: int) -> list[str]:
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.9, size))]
