"""What the page's plots are drawn from: boxes, paths and marks, which its template only writes down."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raysmooth.pipeline.analysis.metrics import asked_radius
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.report.captions import run_labels, run_names
from raysmooth.pipeline.report.figures.curves import certification_curve, quantity_of
from raysmooth.pipeline.report.figures.histograms import Histograms
from raysmooth.pipeline.report.figures.line_styles import LineStyle, line_styles, styles_of
from raysmooth.pipeline.report.figures.palette import colours_of
from raysmooth.pipeline.report.figures.rejection import RejectionHistograms, axes_of, panel_titles
from raysmooth.pipeline.report.figures.steps import AXIS, step_panels
from raysmooth.pipeline.report.page.svg_paths import (
    Box,
    bar_paths,
    cell_paths,
    curve_path,
    marker_places,
    ticks,
)
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.sigma_words import by_level
from raysmooth.pipeline.report.symbols import norm_symbol

_DASHES = ["", "9 4", "2 3", "9 3 2 3", "5 3"]
"""SVG dashes that correspond to those of `curves`."""


def plot_colours(*plots: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The colours of all lines, by their numbers, each on a light and on a dark page."""
    size = 1 + max(line["style"].colour for plot in plots for line in plot["lines"])
    return list(zip(colours_of(size), colours_of(size, on_dark=True), strict=True))


def curves_alt(data: ReportData) -> str:
    """What a reader who cannot see the curves needs: what they are, and where their numbers are."""
    runs = data.runs
    many = f"{len(runs)} runs" if len(runs) > 1 else "one run"
    norm = runs["norm"].iloc[0]
    return f"Curves of {many}: {quantity_of(runs)} against {norm} radius; the table of runs has the numbers"


def curves_of_runs(data: ReportData) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The curves of all runs and, if there are several sigmas and one has several runs, those of each sigma."""
    runs = data.runs
    names, levels = run_names(runs), runs["sigma"]
    corners = {run: certification_curve(data.parts[run]) for run in runs.index}
    styles = line_styles(runs)
    known = {
        run: {"run": run, "name": names[run], "label": label, **_looks(styles[run])}
        for run, label in zip(runs.index, run_labels(runs), strict=True)
    }
    whole = _curves(data, known, corners, 720, 300)
    if not (varies(levels) and levels.duplicated().any()):
        return whole, []
    different = list(dict.fromkeys(names))
    looks = {name: _looks(style) for name, style in zip(different, styles_of(different), strict=True)}
    panels = []
    for title, own in by_level(runs):
        lines = {run: {**known[run], **looks[names[run]]} for run in own.index}
        panels.append({"title": title, **_curves(data, lines, corners, 330, 190)})
    return whole, panels


def _looks(style: LineStyle) -> dict[str, Any]:
    return {"style": style, "dash": _DASHES[style.dash]}


def _curves(
    data: ReportData,
    lines: dict[str, dict[str, Any]],
    corners: dict[str, tuple[np.ndarray, np.ndarray]],
    width: int,
    height: int,
) -> dict[str, Any]:
    """Lines, and points for runs that decide one radius, with their axes."""
    box = Box(width, height, max([*(float(corners[run][0][-1]) for run in lines), 0.01]) * 1.02)
    plotted = []
    for run, line in lines.items():
        radii, heights = corners[run]
        if asked_radius(data.parts[run]) < float("inf"):
            point = (box.x(radii[0]), box.y(heights[0]))
            plotted.append({**line, "marker": line["style"].point, "places": [point]})
        else:
            places = marker_places(radii, heights, box, line["style"].colour) if line["style"].marker else []
            path = curve_path(radii, heights, box)
            plotted.append({**line, "path": path, "marker": line["style"].marker, "places": places})
    axis = f"{norm_symbol(str(data.runs['norm'].iloc[0]))} radius"
    return {"box": box, "lines": plotted, "axis": axis, "ticks": ticks(box.reach, 8 if width > 400 else 5)}


def bars(found: Histograms) -> dict[str, Any]:
    highest = max((float(shares.sum(axis=0).max()) for shares in found.shares.values()), default=1.0) or 1.0
    box = Box(260, 48, float(found.edges[-1]), highest)
    paths = {run: bar_paths(shares, box) for run, shares in found.shares.items()}
    named = list(zip(found.ticks, found.names, strict=True))
    few = named[:: -(-len(named) // 7)]  # as many as fit
    axis = found.axis if found.norm is None else f"{norm_symbol(found.norm)} radius"
    marks = {run: box.x(place) for run, place in found.marks.items()}
    return {"axis": axis, "box": box, "paths": paths, "ticks": few, "highest": highest, "marks": marks}


def panels_of_steps(data: ReportData) -> list[dict[str, Any]]:
    """Certified accuracy against the steps of a search: lines in the form of `_curves`, one for each radius."""
    names, series = step_panels(data)
    reach = max(int(one.steps[-1]) for one in series)
    box, panels = Box(330, 190, reach * 1.02), []
    for one in series:
        lines = []
        for name, shares, style in zip(names, one.shares, styles_of(list(names)), strict=True):
            places = [(box.x(k), box.y(share)) for k, share in zip(one.steps, shares, strict=True) if share == share]
            path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
            lines.append({"label": name, **_looks(style), "path": path, "marker": 1, "places": places})
        panels.append({"title": one.title, "box": box, "lines": lines, "axis": AXIS, "ticks": ticks(box.reach, 5)})
    return panels


def panels_of_rejections(
    data: ReportData, found: RejectionHistograms, steps: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """A panel for each run with a rejector."""
    if not found.counts:
        return []
    titles, panels, (across, upwards) = panel_titles(data), [], axes_of(data)
    for run, counts in found.counts.items():
        box = Box(240, 240, found.n[run], found.n[run])
        axes = {"across": across, "upwards": upwards, "ticks": ticks(found.n[run], 4)}
        panels.append({"title": titles[run], "box": box, "paths": cell_paths(counts, steps, box), **axes})
    return panels


def legend_of(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line of the legend for each colour of the panels."""
    lines = {line["name"]: {**line, "label": line["name"]} for panel in panels for line in panel["lines"]}
    return list(lines.values())
