"""Certified accuracy against the number of steps K of a search, a line for each radius (Alfarra et al., figure 3)."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.sigmas.rules import without_steps
from raysmooth.pipeline.analysis.summary import radius_columns
from raysmooth.pipeline.report.captions import run_names
from raysmooth.pipeline.report.figures.curves import PATTERNS, quantity_of
from raysmooth.pipeline.report.figures.figure_text import COLUMN, LABEL, TICK, wrapped
from raysmooth.pipeline.report.figures.line_styles import styles_of
from raysmooth.pipeline.report.figures.palette import colours_of
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.sigma_words import with_sigma
from raysmooth.pipeline.report.tables.steps import found_series

AXIS = "steps K of the search"


@dataclass(frozen=True, eq=False)
class StepPanel:
    """`steps` int (S,), ascending; `shares` float64 (radii, S) in [0, 1], NaN where unknown."""

    title: str
    steps: np.ndarray
    shares: np.ndarray


def step_panels(data: ReportData) -> tuple[list[str], list[StepPanel]]:
    """The names of the radii, and a panel for each series. Raises RaysmoothError where there is none."""
    columns = radius_columns(data.plain_summary.columns)
    summary = data.plain_summary.set_index("run_id")[list(columns)]
    series = found_series(data)
    panels = [
        StepPanel(title, np.array(list(one)), summary.loc[list(one.values())].to_numpy(float).T)
        for title, one in zip(_titles(data, [list(one.values())[-1] for one in series]), series, strict=True)
    ]
    return list(columns), panels


def _titles(data: ReportData, last: list[str]) -> list[str]:
    """What differs between series, by their runs with most steps, K aside; "" for the only one."""
    runs = data.runs.loc[last]
    if len(runs) == 1:
        return [""]
    names = run_names(runs.assign(sigma_rule=runs["sigma_rule"].map(without_steps)))
    if not varies(names):
        return [with_sigma("", sigma).removeprefix(", ") for sigma in runs["sigma"]]
    sigmas_vary = varies(runs["sigma"])
    return [with_sigma(name, sigma) if sigmas_vary else name for name, sigma in zip(names, runs["sigma"], strict=True)]


def plot_steps(data: ReportData, width: float = COLUMN) -> Figure:
    """A panel for each series, `width` inches wide. Raises RaysmoothError where there is no series."""
    names, panels = step_panels(data)
    across = min(len(panels), (1 if len(panels) < 3 else 2) if width <= COLUMN else 3)
    high = -(-len(panels) // across)
    figure = Figure(layout="constrained")
    grid = figure.subplots(high, across, sharey=True, squeeze=False)
    colours, styles = colours_of(len(names)), styles_of(list(names))
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        for name, shares, style in zip(names, panel.shares, styles, strict=True):
            looks = {"color": colours[style.colour], "linestyle": PATTERNS[style.dash], "linewidth": 1.3}
            axes.plot(panel.steps, shares, marker="o", markersize=2.5, label=name, clip_on=False, **looks)
        axes.set(xlim=(0, None), ylim=(0, 1.02))
        axes.xaxis.set_major_locator(
            MaxNLocator(6 if width / across > 2 else 3, steps=[1, 2, 2.5, 5, 10], integer=True)
        )
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        axes.tick_params(labelsize=TICK)
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(wrapped(panel.title, int(16 * width / across)), fontsize=TICK)
        if place + across >= len(panels):
            axes.set_xlabel(AXIS, fontsize=LABEL)
        if place % across == 0:
            quantity = quantity_of(data.runs)
            axes.set_ylabel(quantity[0].upper() + quantity[1:], fontsize=LABEL)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    columns = max(1, min(len(labels), int(width / 0.8)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=TICK, frameon=False)
    lines = -(-len(labels) // columns)
    figure.set_size_inches(width, 0.3 + high * (0.45 + min(0.6 * width / across, 2.2)) + 0.16 * lines)
    return figure


def steps_note(data: ReportData) -> str:
    """What the figure shows, for its caption."""
    zero = ""
    if any(0 in panel.steps for panel in step_panels(data)[1]):
        zero = " K=0 is the run with one sigma for all images."
    return f"Certified accuracy against the steps K of the search, a line for each radius r.{zero}"
