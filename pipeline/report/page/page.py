"""The whole report as one HTML page that needs nothing else: no network, no server, no other file."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import asked_radius
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.run_manifests import manifest_of
from raysmooth.pipeline.report.captions import brief, caption, run_labels, run_names
from raysmooth.pipeline.report.figures.curves import certification_curve, colours_of, looks, measure_of
from raysmooth.pipeline.report.figures.histograms import KINDS, Histograms, pa_histograms, radius_histograms
from raysmooth.pipeline.report.page.svg_paths import Box, bar_paths, curve_path, ticks
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import HOW_SURE
from raysmooth.storage.location import Location

_DASHES = ["", "9 4", "2 3", "9 3 2 3", "5 3"]
"""What dashes of the same number look like in other figures."""

_MOST_CLASSES = 200
"""Lines of the table of classes."""


def render_page(reported: ReportData, out: Location, made: Mapping[str, PrintedTable], *more: PrintedTable) -> str:
    """The page's text. Settings are from the manifests under `out`; a run without one is said to have none. `made` are
    tables with intervals, by their names in TABLES, that need not be made again; `more` stand beside all of these.
    """
    # All that is filled in is escaped, whatever a user calls things: the template has no "safe".
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables, refused = [], {}
    for name, make in TABLES.items():
        if name == "sigma" and not varies(reported.runs["sigma"]):
            continue
        try:
            if name == "classes":
                tables.append(classes_table(reported, True, _MOST_CLASSES))
            else:
                tables.append(made[name] if name in made else make(reported, True))
        except RaysmoothError as refusal:
            refused[name] = str(refusal)
    tables += more
    manifests = {run: _manifest(out, run) for run in reported.runs.index}
    shared, own = _told_apart({run: told for run, told in manifests.items() if told})
    all_curves, panels = _drawn(reported)
    labels = dict(zip(reported.runs.index, run_labels(reported.runs), strict=True))
    return environment.get_template("page.html.jinja").render(
        zip=zip,
        share_of=_share_of,
        best={table.name: {name: own.tolist() for name, own in table.best.items()} for table in tables},
        datasets=sorted(map(str, reported.runs["dataset"].unique())),
        about=caption(reported.runs, without={"sigma"}),
        brief=brief(reported.runs),
        sure=HOW_SURE,
        measure=measure_of(reported.runs),
        tables={table.name: table for table in tables},
        all_curves=all_curves,
        panels=panels,
        panel_names=_names(panels),
        histograms=[_bars(found) for found in (radius_histograms(reported), pa_histograms(reported)) if found.shares],
        refused=refused,
        kinds=KINDS,
        labels=labels,
        shared=shared,
        own={run: own.get(run) for run in reported.runs.index},
    )


def _drawn(reported: ReportData) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The curves of all runs and, where there are several sigmas and several runs of one, those of each sigma."""
    runs = reported.runs
    names, levels = run_names(runs), runs["sigma"]
    corners = {run: certification_curve(reported.parts[run]) for run in runs.index}
    known = {
        run: {"run": run, "name": names[run], "label": label, "colour": colour, "dash": _DASHES[dash]}
        for run, label, colour, dash in zip(runs.index, run_labels(runs), *looks(runs), strict=True)
    }
    whole = _curves(reported, known, corners, 720, 300)
    if not (varies(levels) and levels.duplicated().any()):
        return whole, []
    different = list(dict.fromkeys(names))  # in a panel colour alone tells who
    colours = dict(zip(different, colours_of(len(different)), strict=True))
    panels = []
    for sigma in sorted(levels.unique()):
        lines = {
            run: {**known[run], "colour": colours[names[run]], "dash": ""} for run in levels.index[levels == sigma]
        }
        panels.append({"sigma": sigma, **_curves(reported, lines, corners, 330, 190)})
    return whole, panels


def _curves(
    reported: ReportData,
    lines: dict[str, dict[str, Any]],
    corners: dict[str, tuple[np.ndarray, np.ndarray]],
    width: int,
    height: int,
) -> dict[str, Any]:
    """Lines, and points of runs that decide one radius, with the axes that they need."""
    box = Box(width, height, max([*(float(corners[run][0][-1]) for run in lines), 0.01]) * 1.02)
    drawn = []
    for run, line in lines.items():
        radii, heights = corners[run]
        if asked_radius(reported.parts[run]) < float("inf"):
            drawn.append({**line, "x": box.x(radii[0]), "y": box.y(heights[0])})
        else:
            drawn.append({**line, "path": curve_path(radii, heights, box)})
    axis = f"{reported.runs['norm'].iloc[0]} radius"
    return {"box": box, "lines": drawn, "axis": axis, "ticks": ticks(box.reach, 8 if width > 400 else 5)}


def _bars(found: Histograms) -> dict[str, Any]:
    highest = max((float(shares.sum(axis=0).max()) for shares in found.shares.values()), default=1.0) or 1.0
    box = Box(260, 48, float(found.edges[-1]), highest)
    paths = {run: bar_paths(shares, box) for run, shares in found.shares.items()}
    named = list(zip(found.ticks, found.names, strict=True))
    few = named[:: -(-len(named) // 7)]  # as many as there is room for
    return {"axis": found.axis, "box": box, "paths": paths, "ticks": few, "highest": highest}


def _names(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line of the legend for each colour of the panels."""
    lines = {line["colour"]: {**line, "label": line["name"]} for panel in panels for line in panel["lines"]}
    return list(lines.values())


def _share_of(column: str, cell: str) -> float | None:
    """How long the bar behind a share is, in percent; None where there is none."""
    if not column.startswith("r=") or not (found := re.match(r"[\d.]+", cell)):
        return None
    return min(100.0, float(found[0]))


def _manifest(out: Location, run: str) -> dict[str, str] | None:
    """What a run's manifest says, flat, as text; None where there is none that can be read."""
    found = manifest_of(out, run)
    return dict(_flat(found)) if found is not None else None


def _flat(told: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in told.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{before}{name}.")
        else:
            flat.append((before + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return flat


def _told_apart(manifests: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What all manifests say alike, and what else each says."""
    first = next(iter(manifests.values()), {})
    shared = {name: value for name, value in first.items() if all(m.get(name) == value for m in manifests.values())}
    return shared, {run: {k: v for k, v in told.items() if k not in shared} for run, told in manifests.items()}
