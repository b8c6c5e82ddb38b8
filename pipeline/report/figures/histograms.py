"""Distributions of certified radii and of pA, as histograms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import asked_radius, certified_radii
from raysmooth.pipeline.analysis.p_lower_distribution import EDGES, p_lower_histogram
from raysmooth.pipeline.report.captions import run_labels
from raysmooth.pipeline.report.figures.figure_text import COLUMN, LABEL, TICK, radius_label, set_formula, wrapped
from raysmooth.pipeline.report.figures.palette import BLACK, BLUE, GREY, GREY_ON_DARK, VERMILION
from raysmooth.pipeline.report.report_data import ReportData

BINS = 25
"""Most bars of a histogram of radii."""

KINDS = {"right": BLUE, "wrong": VERMILION, "abstained": GREY}
"""Kinds of images, stacked from the axis upwards, with their colours; images without a label count as right."""

KINDS_ON_DARK = ("#4C9BE8", "#FF8A4C", GREY_ON_DARK)

_HATCHES = {"right": "", "wrong": "//////", "abstained": ""}
"""The kinds differ in grey, too: the colours of the first two are equally dark."""


@dataclass(frozen=True, eq=False)
class Histograms:
    """Bars of several runs over the same bins: `axis` says of what, `norm` is that of radii, None for other quantities;
    `edges` float64 (B + 1,), as plotted; `ticks` of the axis and their `names`; by run_id, the `shares` of all images
    of a run, float64 (kinds, B). Runs without these data are missing. `kinds` of images, stacked from the axis upwards,
    have their colours; `marks` are places on a run's axis to mark.
    """

    axis: str
    norm: str | None
    edges: np.ndarray
    ticks: Sequence[float]
    names: Sequence[str]
    shares: dict[str, np.ndarray]
    kinds: Mapping[str, str] = field(default_factory=lambda: KINDS)
    marks: Mapping[str, float] = field(default_factory=dict)


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
    return Histograms(f"{norm} radius", norm, edges, list(ticks), [f"{tick:g}" for tick in ticks], shares)


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
    return Histograms("pA", None, places, list(places), [f"{edge:g}" for edge in EDGES], shares)


def plot_histograms(data: ReportData, histograms: Histograms, width: float = COLUMN) -> Figure:
    """One histogram per run, stacked, all to the same scale, `width` inches wide.

    Raises RaysmoothError where no run has a histogram.
    """
    runs = data.runs.loc[[run for run in data.runs.index if run in histograms.shares]]
    if runs.empty:
        raise RaysmoothError(f"no run records its {histograms.axis}: there is nothing to plot")
    labels = [wrapped(label, int(6.5 * width)) for label in run_labels(runs)]
    high = max(0.55, 0.12 * (1.5 + max(label.count("\n") for label in labels)))
    figure = Figure(figsize=(width, 0.75 + high * len(runs)), layout="constrained")
    axes = figure.add_subplot()
    highest = _highest(histograms)
    for place, run in enumerate(runs.index):
        base = np.full(len(histograms.edges) - 1, -float(place))
        for shares, (kind, colour) in zip(histograms.shares[run], histograms.kinds.items(), strict=False):
            top = base + 0.85 * shares / highest
            label = kind if place == 0 else None
            axes.stairs(top, histograms.edges, baseline=base, fill=True, facecolor=colour, hatch=_HATCHES.get(kind, ""),
                        edgecolor="white", linewidth=0, label=label)  # fmt: skip
            base = top
        axes.axhline(-place, color="0.6", linewidth=0.6)
        if run in histograms.marks:
            axes.plot([histograms.marks[run]] * 2, [-place, -place + 0.85], color=BLACK, linewidth=0.8, dashes=(3, 2))
    axes.set_yticks([-place for place in range(len(runs))], labels, fontsize=TICK, va="bottom")
    axes.set_xticks(histograms.ticks, histograms.names, fontsize=TICK - 1)
    if len(histograms.ticks) * 0.32 > 0.6 * width:
        axes.tick_params(axis="x", rotation=60)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, histograms.edges[-1]), ylim=(-len(runs) + 0.9, 1))
    if histograms.norm is None:
        axes.set_xlabel(histograms.axis, fontsize=LABEL)
    else:
        set_formula(axes.set_xlabel(radius_label(histograms.norm), fontsize=LABEL))
    axes.spines[["top", "right", "left"]].set_visible(False)
    if len(next(iter(histograms.shares.values()))) > 1:
        figure.legend(loc="outside lower center", ncols=len(histograms.kinds), fontsize=TICK, frameon=False)
    return figure


def histograms_note(histograms: Histograms) -> str:
    """The scale of `plot_histograms`, for a caption."""
    return f"One scale for all: the highest bar has {100 * _highest(histograms):.1f} % of a run's images."


def _highest(histograms: Histograms) -> float:
    return max((float(shares.sum(axis=0).max()) for shares in histograms.shares.values()), default=0.0) or 1.0
