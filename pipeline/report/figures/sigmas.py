"""Distributions of the sigmas of images, as histograms (Alfarra et al., figure 4)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.sigmas.distribution import fixed_counterparts, grew, has_image_sigmas, image_sigmas
from raysmooth.pipeline.analysis.sigmas.steps import step_series
from raysmooth.pipeline.report.figures.figure_text import COLUMN
from raysmooth.pipeline.report.figures.histograms import Histograms, histograms_note, plot_histograms
from raysmooth.pipeline.report.figures.palette import BLUE, GREY
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.sigmas import runs_with_sigmas

BINS = 40
"""Most bars of a histogram."""

GREW, OTHERS = "radius grew", "other images"
"""Kinds of images where a run with the fixed sigma is among the runs of the report."""

_ALL = "images"
"""The only kind where there is none."""


def sigma_histograms(data: ReportData) -> Histograms:
    """The images of each run of `runs_with_sigmas`; of runs that differ in the steps of their search only, of that with
    most steps. Where any of them has one of `fixed_counterparts`, the images certified there with a smaller radius, or
    not at all, are a kind of their own.
    """
    fewer = {run for one in step_series(data.runs, data.parts) for run in list(one.values())[:-1]}
    found = {run: image_sigmas(data.parts[run]) for run in runs_with_sigmas(data) if run not in fewer}
    fixed = fixed_counterparts(data.runs, data.parts)
    kinds = {GREW: BLUE, OTHERS: GREY} if fixed else {_ALL: BLUE}
    most = max((float(own["sigma"].max()) for own in found.values() if len(own)), default=1.0)
    edges = np.array(MaxNLocator(BINS, steps=[1, 2, 2.5, 5, 10]).tick_values(0, most * (1 + 1e-9)))
    shares = {}
    for run, own in found.items():
        parts = [own["sigma"]]
        if fixed:
            larger = np.zeros(len(own), bool)
            if run in fixed:
                larger = grew(data.parts[run], data.parts[fixed[run]])[own.index].to_numpy(bool)
            parts = [own["sigma"][larger], own["sigma"][~larger]]
        shares[run] = np.stack([np.histogram(part, edges)[0] for part in parts]) / max(len(own), 1)
    ticks = [float(tick) for tick in MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(0, edges[-1])]
    ticks = [tick for tick in ticks if tick <= edges[-1]]
    begun = {str(run): float(sigma) for run, sigma in data.runs["sigma"].dropna().items()}
    return Histograms("sigma of an image", None, edges, ticks, [f"{tick:g}" for tick in ticks], shares, kinds, begun)


def plot_sigmas(data: ReportData, width: float = COLUMN) -> Figure:
    """One histogram for each run with image sigmas, `width` inches wide; a dashed line is the run's own sigma. Raises
    RaysmoothError where no run has image sigmas.
    """
    if not has_image_sigmas(data.rows):
        raise RaysmoothError("no run has image sigmas: there is nothing to plot")
    return plot_histograms(data, sigma_histograms(data), width)


def sigmas_note(data: ReportData) -> str:
    """What the figure shows, for its caption."""
    found = sigma_histograms(data)
    larger = ""
    if GREW in found.kinds:
        larger = (
            " Images whose certified radius is larger than in the run with one sigma for all are in blue, and the same "
            "run's other images in grey above."
        )
    if step_series(data.runs, data.parts):
        larger += " Of runs that differ in the steps of their search only, that with most is shown."
    return (
        f"Sigmas of images, as shares of a run's images without error; dashed: the sigma of the run, where a search "
        f"begins.{larger} {histograms_note(found)}"
    )
