"""The whole report as one self-contained HTML page: no network, no server, no other file."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.analysis.metrics import asked_radius
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.run_manifests import manifest_of
from raysmooth.pipeline.report.captions import caption, run_labels, run_names, short_caption
from raysmooth.pipeline.report.figures.curves import certification_curve, colours_of, line_styles, quantity_of
from raysmooth.pipeline.report.figures.histograms import KINDS, Histograms, p_lower_histograms, radius_histograms
from raysmooth.pipeline.report.page.svg_paths import Box, bar_paths, curve_path, ticks
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE
from raysmooth.storage.location import Location

_DASHES = ["", "9 4", "2 3", "9 3 2 3", "5 3"]
"""SVG dashes that correspond to those of `curves`."""

_MOST_CLASSES = 200
"""Most lines of the table of classes."""


@cache
def _template() -> Template:
    """Everything filled in is escaped, as names come from users: the template has no "safe"."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def render_page(data: ReportData, results: Location, made: Mapping[str, PrintedTable], *more: PrintedTable) -> str:
    """The page's text. Settings come from the manifests below `results`; a run without a manifest is marked. `made` are
    tables with intervals that exist already, by their names in TABLES; the page shows `more` beside all of TABLES.
    """
    tables, refused = [], {}
    for name, make in TABLES.items():
        if name == "sigma" and not varies(data.runs["sigma"]):
            continue
        try:
            if name == "classes":
                tables.append(classes_table(data, True, _MOST_CLASSES))
            else:
                tables.append(made[name] if name in made else make(data, True))
        except RaysmoothError as refusal:
            refused[name] = str(refusal)
    tables += more
    manifests = {run: _manifest(results, run) for run in data.runs.index}
    shared, own = _split_shared({run: facts for run, facts in manifests.items() if facts})
    all_curves, panels = _all_curves(data)
    labels = dict(zip(data.runs.index, run_labels(data.runs), strict=True))
    return _template().render(
        zip=zip,
        share_of=_share_of,
        best={table.name: {name: own.tolist() for name, own in table.best.items()} for table in tables},
        datasets=sorted(map(str, data.runs["dataset"].unique())),
        about=caption(data.runs, without={"sigma"}),
        short_caption=short_caption(data.runs),
        intervals_note=INTERVALS_NOTE,
        quantity=quantity_of(data.runs),
        tables={table.name: table for table in tables},
        all_curves=all_curves,
        panels=panels,
        panel_names=_names(panels),
        histograms=[_bars(found) for found in (radius_histograms(data), p_lower_histograms(data)) if found.shares],
        refused=refused,
        kinds=KINDS,
        labels=labels,
        shared=shared,
        own={run: own.get(run) for run in data.runs.index},
    )


def _all_curves(data: ReportData) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The curves of all runs and, if there are several sigmas and one has several runs, those of each sigma."""
    runs = data.runs
    names, levels = run_names(runs), runs["sigma"]
    corners = {run: certification_curve(data.parts[run]) for run in runs.index}
    known = {
        run: {"run": run, "name": names[run], "label": label, "colour": colour, "dash": _DASHES[dash]}
        for run, label, colour, dash in zip(runs.index, run_labels(runs), *line_styles(runs), strict=True)
    }
    whole = _curves(data, known, corners, 720, 300)
    if not (varies(levels) and levels.duplicated().any()):
        return whole, []
    different = list(dict.fromkeys(names))  # in a panel, colour alone distinguishes runs
    colours = dict(zip(different, colours_of(len(different)), strict=True))
    panels = []
    for sigma in sorted(levels.unique()):
        lines = {
            run: {**known[run], "colour": colours[names[run]], "dash": ""} for run in levels.index[levels == sigma]
        }
        panels.append({"sigma": sigma, **_curves(data, lines, corners, 330, 190)})
    return whole, panels


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
            plotted.append({**line, "x": box.x(radii[0]), "y": box.y(heights[0])})
        else:
            plotted.append({**line, "path": curve_path(radii, heights, box)})
    axis = f"{data.runs['norm'].iloc[0]} radius"
    return {"box": box, "lines": plotted, "axis": axis, "ticks": ticks(box.reach, 8 if width > 400 else 5)}


def _bars(found: Histograms) -> dict[str, Any]:
    highest = max((float(shares.sum(axis=0).max()) for shares in found.shares.values()), default=1.0) or 1.0
    box = Box(260, 48, float(found.edges[-1]), highest)
    paths = {run: bar_paths(shares, box) for run, shares in found.shares.items()}
    named = list(zip(found.ticks, found.names, strict=True))
    few = named[:: -(-len(named) // 7)]  # as many as fit
    return {"axis": found.axis, "box": box, "paths": paths, "ticks": few, "highest": highest}


def _names(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line of the legend for each colour of the panels."""
    lines = {line["colour"]: {**line, "label": line["name"]} for panel in panels for line in panel["lines"]}
    return list(lines.values())


def _share_of(column: str, cell: str) -> float | None:
    """Length of the bar behind a share, in percent; None for a cell without a bar."""
    if not column.startswith("r=") or not (found := re.match(r"[\d.]+", cell)):
        return None
    return min(100.0, float(found[0]))


def _manifest(out: Location, run: str) -> dict[str, str] | None:
    """A run's manifest, flat, as text; None where there is none that can be read."""
    found = manifest_of(out, run)
    return dict(_flat(found)) if found is not None else None


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat.append((printable(prefix + name), printable(text)))
    return flat


def _split_shared(manifests: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The entries that all manifests share, and the other entries of each."""
    first = next(iter(manifests.values()), {})
    shared = {name: value for name, value in first.items() if all(m.get(name) == value for m in manifests.values())}
    return shared, {
        run: {name: value for name, value in facts.items() if name not in shared} for run, facts in manifests.items()
    }
