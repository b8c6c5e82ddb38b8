"""Distributions of certified radii and of pA, as histograms."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import asked_radius, certified_radii
from raysmooth.pipeline.analysis.p_lower_distribution import EDGES, p_lower_histogram
from raysmooth.pipeline.report.captions import caption, run_labels
from raysmooth.pipeline.report.figures.palette import BLUE, VERMILION
from raysmooth.pipeline.report.report_data import ReportData

BINS = 25
"""Most bars of a histogram of radii."""

KINDS = {"right": BLUE, "wrong": VERMILION, "abstained": "#b8b8b8"}
"""Kinds of images, stacked from the axis upwards, with their colours; images without a label count as right."""


@dataclass(frozen=True, eq=False)
class Histograms:
    """Bars of several runs over the same bins: `edges` float64 (B + 1,), as plotted; `ticks` of the axis and their
    `names`; by run_id, the `shares` of all images of a run, float64 (kinds, B). Runs without these data are missing.
    """

    axis: str
    edges: np.ndarray
    ticks: Sequence[float]
    names: Sequence[str]
    shares: dict[str, np.ndarray]


def radius_histograms(data: ReportData) -> Histograms:
    """Certified radii of the images certified for the right class, or for any class where there are no labels; other
    images are in no bar. Runs that decide one radius are missing.
    """
    reached = {
        run: certified_radii(own) for run, own in data.parts.items() if asked_radius(own) == np.inf
    }  # fmt: skip
    reach = max((float(radii.max()) for radii in reached.values()), default=0.0)
    edges = np.array(MaxNLocator(BINS, steps=[1, 2, 2.5, 5, 10]).tick_values(0, reach if reach > 0 else 1.0))
    shares = {run: np.histogram(radii, edges)[0][None] / len(radii) for run, radii in reached.items()}
    ticks = edges[:: -(-len(edges) // 9)]
    norm = data.runs["norm"].iloc[0]
    return Histograms(f"{norm} radius", edges, list(ticks), [f"{tick:g}" for tick in ticks], shares)


def p_lower_histograms(data: ReportData) -> Histograms:
    """pA, the lower bound of the selected class's probability, in the bins of `p_lower_histogram`, which are finer
    towards 1 and plotted equally wide. Runs that do not record pA are missing.
    """
    shares = {}
    for run, own in data.parts.items():
        try:
            table = p_lower_histogram(own)
        except RaysmoothError:
            continue
        kinds = np.stack([table["right"] + table["unlabelled"], table["wrong"], table["abstained"]])
        shares[run] = kinds / len(own)
    places = np.arange(len(EDGES), dtype=float)
    return Histograms("pA", places, list(places), [f"{edge:g}" for edge in EDGES], shares)


def plot_histograms(data: ReportData, histograms: Histograms) -> Figure:
    """One histogram per run, stacked, all to the same scale, 1000 pixels wide at 150 dpi.

    Raises RaysmoothError where no run has a histogram.
    """
    runs = data.runs.loc[[run for run in data.runs.index if run in histograms.shares]]
    if runs.empty:
        raise RaysmoothError(f"no run records its {histograms.axis}: there is nothing to plot")
    figure = Figure(figsize=(1000 / 150, 1.3 + 0.45 * len(runs)), layout="constrained")
    axes = figure.add_subplot()
    highest = max(float(shares.sum(axis=0).max()) for shares in histograms.shares.values()) or 1.0
    for place, run in enumerate(runs.index):
        base = np.full(len(histograms.edges) - 1, -float(place))
        for shares, colour in zip(histograms.shares[run], KINDS.values(), strict=False):
            top = base + 0.85 * shares / highest
            axes.stairs(top, histograms.edges, baseline=base, fill=True, color=colour)
            base = top
        axes.axhline(-place, color="0.6", linewidth=0.6)
    labels = [fill(label, 45) for label in run_labels(runs)]
    axes.set_yticks([-place for place in range(len(runs))], labels, fontsize=8, va="bottom")
    axes.set_xticks(histograms.ticks, histograms.names, fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, histograms.edges[-1]), ylim=(-len(runs) + 0.9, 1), xlabel=histograms.axis)
    axes.spines[["top", "right", "left"]].set_visible(False)
    scale = f"Highest bar: {highest:.1%} of a run's images."
    if len(next(iter(histograms.shares.values()))) > 1:
        scale += " Blue right, red wrong, grey abstained."
    figure.suptitle(fill(f"{caption(data.runs, without={'sigma'})}. {scale}", 105), x=0.02, ha="left", fontsize=8)
    return figure
