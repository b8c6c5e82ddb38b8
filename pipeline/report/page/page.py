"""The whole report as one self-contained HTML page: no network, no server, no other file."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.pipeline.analysis.failures import failures
from raysmooth.pipeline.analysis.metrics import asked_radius
from raysmooth.pipeline.analysis.rejection import has_rejector
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.run_manifests import manifest_of
from raysmooth.pipeline.analysis.sigmas.distribution import has_image_sigmas
from raysmooth.pipeline.analysis.sigmas.steps import step_series
from raysmooth.pipeline.report.captions import run_labels, run_names, short_caption
from raysmooth.pipeline.report.figures.curves import certification_curve, quantity_of
from raysmooth.pipeline.report.figures.histograms import (
    KINDS,
    KINDS_ON_DARK,
    Histograms,
    p_lower_histograms,
    radius_histograms,
)
from raysmooth.pipeline.report.figures.line_styles import LineStyle, line_styles, styles_of
from raysmooth.pipeline.report.figures.palette import colours_of
from raysmooth.pipeline.report.figures.rejection import (
    NO_HISTOGRAMS,
    RejectionHistograms,
    axes_of,
    image_steps,
    panel_titles,
    rejection_histograms,
    rejection_note,
    step_colours,
)
from raysmooth.pipeline.report.figures.sigmas import sigma_histograms, sigmas_note
from raysmooth.pipeline.report.figures.steps import AXIS, step_panels, steps_note
from raysmooth.pipeline.report.page.context import CertifiedImage, PageContext
from raysmooth.pipeline.report.page.headline import Headline, headline
from raysmooth.pipeline.report.page.opening import opening
from raysmooth.pipeline.report.page.run_commands import run_command
from raysmooth.pipeline.report.page.svg_paths import (
    MARKERS,
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
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.rejection import rejection_table
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE
from raysmooth.storage.location import Location

_DASHES = ["", "9 4", "2 3", "9 3 2 3", "5 3"]
"""SVG dashes that correspond to those of `curves`."""

_MEDIAN = "Of the {} certified images, that with the median radius."
"""How the certified image was chosen."""

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


def render_page(
    data: ReportData,
    results: Location,
    made: Mapping[str, PrintedTable],
    *more: PrintedTable,
    context: PageContext | None = None,
) -> str:
    """The page's text. Settings come from the manifests below `results`; a run without a manifest is marked. `made` are
    tables with intervals that exist already, by their names in TABLES; the page shows `more` beside all of TABLES, and
    what is in `context`.
    """
    tables, refused = [], {}
    for name, make in TABLES.items():
        if name == "sigma" and not varies(data.runs["sigma"]):
            continue
        if name == "errors" and not failures(data.rows):
            continue
        if name == "rejection" and not has_rejector(data.rows):
            continue
        if name == "sigmas" and not has_image_sigmas(data.rows):
            continue
        if name == "steps" and not step_series(data.runs, data.parts):
            continue
        try:
            if name == "classes":
                tables.append(classes_table(data, True, _MOST_CLASSES))
            elif name == "rejection":
                tables.append(rejection_table(data, True, _MOST_CLASSES))
            else:
                tables.append(made[name] if name in made else make(data, True))
        except RaysmoothError as refusal:
            refused[name] = str(refusal)
    tables += more
    shown = {table.name for table in tables}
    context = context or PageContext()
    manifests = {run: manifest_of(results, run) for run in data.runs.index}
    flat = {run: dict(_flat(manifest)) for run, manifest in manifests.items() if manifest is not None}
    shared, own = _split_shared({run: facts for run, facts in flat.items() if facts})
    all_curves, panels = _all_curves(data)
    rejections = rejection_histograms(data) if "rejection" in shown else NO_HISTOGRAMS
    steps = image_steps(rejections.highest)
    step_plots = _step_panels(data) if "steps" in shown else []
    labels = dict(zip(data.runs.index, run_labels(data.runs), strict=True))
    head = headline(data)
    image, no_image = _certified_image(context, data, head)
    commands: dict[str, list[str]] = {}
    for run, manifest in manifests.items():
        commands.setdefault((manifest and run_command(manifest)) or "", []).append(labels[run])
    return _template().render(
        zip=zip,
        context=context,
        opening=opening(data, head, _image_shape(manifests[head.run_id])),
        image=image,
        no_image=no_image,
        picture_source=_picture_source,
        median=_MEDIAN.format(f"{head.certified:,}"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=_version(),
        commands=commands,
        colours=_colours(all_curves, *panels, *step_plots),
        title=context.title or f"Certificates: {', '.join(sorted(map(str, data.runs['dataset'].unique())))}",
        curves_alt=_curves_alt(data),
        markers=MARKERS,
        script_hash=_script_hash(),
        share_of=_share_of,
        best={table.name: {name: own.tolist() for name, own in table.best.items()} for table in tables},
        about=str(data.caption),
        short_caption=short_caption(data.runs),
        intervals_note=INTERVALS_NOTE,
        quantity=quantity_of(data.runs),
        tables={table.name: table for table in tables},
        all_curves=all_curves,
        panels=panels,
        panel_names=_names(panels),
        histograms=[_bars(found) for found in (radius_histograms(data), p_lower_histograms(data)) if found.shares],
        sigma_bars=_bars(sigma_histograms(data)) if "sigmas" in shown else None,
        sigmas_note=sigmas_note(data) if "sigmas" in shown else "",
        step_panels=step_plots,
        steps_note=steps_note(data) if "steps" in shown else "",
        rejections=_rejections(data, rejections, steps),
        rejection_steps=[f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in steps],
        rejection_colours=list(zip(step_colours(len(steps)), step_colours(len(steps), on_dark=True), strict=True)),
        rejection_note=rejection_note(data) if "rejection" in shown else "",
        refused=refused,
        kinds=dict(zip(KINDS, zip(KINDS.values(), KINDS_ON_DARK, strict=True), strict=True)),
        labels=labels,
        shared=shared,
        own={run: own.get(run) for run in data.runs.index},
    )


def _certified_image(context: PageContext, data: ReportData, head: Headline) -> tuple[CertifiedImage | None, str]:
    """The image beside the opening, or the reason why there is none."""
    if context.image is None:
        return None, ""
    if head.image_id is None:
        return None, "No image is shown, as none is certified at this radius"
    try:
        return context.image(data, head), ""
    except (RaysmoothError, RuntimeError, OSError) as error:  # such as a GPU without memory: the report goes on
        return None, f"No certified image is shown: {one_line(error)}"


def _image_shape(manifest: Mapping[str, Any] | None) -> list[int] | None:
    """(C, H, W), None where the manifest does not have it."""
    shape = manifest.get("image_shape") if manifest is not None else None
    fits = isinstance(shape, list) and len(shape) == 3 and all(isinstance(side, int) and side > 0 for side in shape)
    return shape if fits else None


def _picture_source(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _version() -> str:
    try:
        return f"raysmooth {version('raysmooth')}"
    except PackageNotFoundError:  # it runs from a folder that was never installed
        return "raysmooth"


@cache
def _script_hash() -> str:
    """The hash of the page's own script, the only one that a browser then runs in it."""
    source = (Path(__file__).parent / "sort.js").read_text().removesuffix("\n")  # as jinja includes it
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"


def _colours(*plots: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The colours of all lines, by their numbers, each on a light and on a dark page."""
    size = 1 + max(line["style"].colour for plot in plots for line in plot["lines"])
    return list(zip(colours_of(size), colours_of(size, on_dark=True), strict=True))


def _curves_alt(data: ReportData) -> str:
    """What a reader who cannot see the curves needs: what they are, and where their numbers are."""
    runs = data.runs
    many = f"{len(runs)} runs" if len(runs) > 1 else "one run"
    norm = runs["norm"].iloc[0]
    return f"Curves of {many}: {quantity_of(runs)} against {norm} radius; the table of runs has the numbers"


def _all_curves(data: ReportData) -> tuple[dict[str, Any], list[dict[str, Any]]]:
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


def _bars(found: Histograms) -> dict[str, Any]:
    highest = max((float(shares.sum(axis=0).max()) for shares in found.shares.values()), default=1.0) or 1.0
    box = Box(260, 48, float(found.edges[-1]), highest)
    paths = {run: bar_paths(shares, box) for run, shares in found.shares.items()}
    named = list(zip(found.ticks, found.names, strict=True))
    few = named[:: -(-len(named) // 7)]  # as many as fit
    axis = found.axis if found.norm is None else f"{norm_symbol(found.norm)} radius"
    marks = {run: box.x(place) for run, place in found.marks.items()}
    return {"axis": axis, "box": box, "paths": paths, "ticks": few, "highest": highest, "marks": marks}


def _step_panels(data: ReportData) -> list[dict[str, Any]]:
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


def _rejections(data: ReportData, found: RejectionHistograms, steps: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """A panel for each run with a rejector."""
    if not found.counts:
        return []
    titles, panels, (across, upwards) = panel_titles(data), [], axes_of(data)
    for run, counts in found.counts.items():
        box = Box(240, 240, found.n[run], found.n[run])
        axes = {"across": across, "upwards": upwards, "ticks": ticks(found.n[run], 4)}
        panels.append({"title": titles[run], "box": box, "paths": cell_paths(counts, steps, box), **axes})
    return panels


def _names(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line of the legend for each colour of the panels."""
    lines = {line["name"]: {**line, "label": line["name"]} for panel in panels for line in panel["lines"]}
    return list(lines.values())


def _share_of(column: str, cell: str) -> float | None:
    """Length of the bar behind a share, in percent; None for a cell without a bar."""
    if not column.startswith("r=") or not (found := re.match(r"[\d.]+", cell)):
        return None
    return min(100.0, float(found[0]))


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
