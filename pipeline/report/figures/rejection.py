"""Rejected against kept draws of images, as histograms in two dimensions (Sheikholeslami et al., figure 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.rejection import has_rejector, rejection_counts, rejection_histogram
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.report.api_words import set_aside
from raysmooth.pipeline.report.captions import run_labels, run_names
from raysmooth.pipeline.report.figures.figure_text import COLUMN, LABEL, TICK
from raysmooth.pipeline.report.figures.palette import VERMILION
from raysmooth.pipeline.report.report_data import ReportData

BINS = 25
"""Bins of each axis."""

KEPT_AXIS, ANSWERED_AXIS = "kept draws of the top class", "draws of the top class"

_ENDS, _ENDS_ON_DARK = (0.9, 0.0), (0.2, 1.0)
"""The parts of the map "cividis", which colour-blind readers see as others do, for the fewest and the most images: both
grow away from the ground.
"""


@dataclass(frozen=True, eq=False)
class RejectionHistograms:
    """By run_id, of the runs with a rejector: `counts`, those of `rejection_histogram` with BINS, and `n`, the number
    of draws at the ends of the axes. `highest` is the largest of all counts.
    """

    counts: dict[str, np.ndarray]
    n: dict[str, int]

    @property
    def highest(self) -> int:
        return max((int(counts.max()) for counts in self.counts.values()), default=0)


NO_HISTOGRAMS = RejectionHistograms({}, {})


def rejection_histograms(data: ReportData) -> RejectionHistograms:
    """Those of the runs with a rejector, in the order of reports. Raises RaysmoothError where one of them does not
    record its draws.
    """
    rejecting = [run for run in data.runs.index if has_rejector(data.parts[run])]
    counts = {run: rejection_histogram(data.parts[run], BINS) for run in rejecting}
    return RejectionHistograms(counts, {run: int(rejection_counts(data.parts[run])["n"].max()) for run in rejecting})


def plot_rejection(data: ReportData, width: float = COLUMN) -> Figure:
    """A panel for each run with a rejector, all with the same colours, `width` inches wide, with the diagonal on which
    no draw is kept for another class. Raises RaysmoothError where no run has a rejector.
    """
    found = rejection_histograms(data)
    if not found.counts:
        raise RaysmoothError("no run has a rejector: there is nothing to plot")
    across_axis, upwards_axis = axes_of(data)
    titles, one_n = panel_titles(data), len(set(found.n.values())) == 1
    across = min(len(found.counts), 2 if width <= COLUMN else 4)
    high = -(-len(found.counts) // across)
    figure = Figure(layout="constrained")
    grid = figure.subplots(high, across, squeeze=False)
    colours = LinearSegmentedColormap.from_list("images", colormaps["cividis"](np.linspace(*_ENDS, 256)))
    norm = LogNorm(1, max(found.highest, 2))
    for place, (axes, (run, counts)) in enumerate(zip(grid.flat, found.counts.items(), strict=False)):
        edges = np.linspace(0, found.n[run], BINS + 1)
        mesh = axes.pcolormesh(edges, edges, np.ma.masked_equal(counts.T, 0), cmap=colours, norm=norm)
        axes.plot([0, found.n[run]], [found.n[run], 0], color=VERMILION, linewidth=0.8, linestyle=(0, (4, 2)))
        first, last = place % across == 0, place + across >= len(found.counts)
        _style_axes(axes, found.n[run], upwards_axis if first else "", across_axis if last else "")
        axes.tick_params(labelleft=first or not one_n)
        axes.set_title(fill(titles[run], int(13 * width / across)), fontsize=TICK)
    for axes in grid.flat[len(found.counts) :]:
        axes.remove()
    bar = figure.colorbar(
        mesh, ax=list(grid.flat[: len(found.counts)]), location="bottom", aspect=40, shrink=0.9, fraction=0.05
    )
    bar.set_label("images", fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK)
    bar.ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    lines = max(axes.get_title().count("\n") + bool(axes.get_title()) for axes in grid.flat)
    figure.set_size_inches(width, 0.8 + high * ((width - 0.6) / across + 0.4 + 0.13 * lines))
    return figure


def axes_of(data: ReportData) -> tuple[str, str]:
    """What the axes say, across and upwards."""
    aside = set_aside(_rejecting_runs(data))
    return f"{aside} draws", ANSWERED_AXIS if aside == "unanswered" else KEPT_AXIS


def _rejecting_runs(data: ReportData) -> pd.DataFrame:
    return data.runs.loc[[run for run in data.runs.index if has_rejector(data.parts[run])]]


def panel_titles(data: ReportData) -> dict[str, str]:
    """A title for the panel of each run: what differs between the runs with a rejector, "" for the only one."""
    runs = _rejecting_runs(data)
    if len(runs) == 1:
        return dict.fromkeys(runs.index, "")
    if varies(run_names(runs)):
        return dict(zip(runs.index, run_labels(runs), strict=True))
    return {run: f"sigma {sigma:.6}" for run, sigma in zip(runs.index, runs["sigma"], strict=True)}


def rejection_note(data: ReportData) -> str:
    """What the figure shows, for its caption."""
    aside = set_aside(_rejecting_runs(data))
    kept, has = ("those", "has") if aside == "unanswered" else ("their kept ones", "is kept for")
    return (
        f"Images by their {aside} estimation draws and {kept} of the selected class; on the dashed diagonal, "
        f"no draw {has} another class. The colour is the number of images, on a logarithmic scale."
    )


def _style_axes(axes: Axes, n: int, upwards: str, across: str) -> None:
    axes.set(xlim=(0, n), ylim=(0, n), aspect="equal")
    axes.set_xlabel(across, fontsize=LABEL)
    axes.set_ylabel(upwards, fontsize=LABEL)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)


def image_steps(highest: int) -> Sequence[tuple[int, int]]:
    """The numbers of images that share a colour on a page, first and last: 1, 2 to 4, 5 to 9, 10 to 19, ...; coarser
    above 999: 1 to 9, 10 to 99, ...
    """
    digits, powers = (1, 2, 5) if highest < 1000 else (1,), range(len(str(highest)))
    firsts = [first for power in powers for digit in digits if (first := digit * 10**power) <= highest]
    lasts = [*(first - 1 for first in firsts[1:]), highest]
    return list(zip(firsts, lasts, strict=False))  # no firsts where `highest` is 0


def step_colours(steps: int, on_dark: bool = False) -> list[str]:
    """A colour for each of `image_steps`."""
    ends = _ENDS_ON_DARK if on_dark else _ENDS
    return [to_hex(colour) for colour in colormaps["cividis"](np.linspace(*ends, max(steps, 1)))]
