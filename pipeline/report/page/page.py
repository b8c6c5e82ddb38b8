"""The whole report as one self-contained HTML page: no network, no server, no other file."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.pipeline.analysis.failures import failures
from raysmooth.pipeline.analysis.rejection import has_rejector
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.run_manifests import manifest_of
from raysmooth.pipeline.analysis.sigmas.distribution import has_image_sigmas
from raysmooth.pipeline.analysis.sigmas.steps import step_series
from raysmooth.pipeline.report.captions import run_labels, short_caption
from raysmooth.pipeline.report.figures.curves import quantity_of
from raysmooth.pipeline.report.figures.histograms import (
    KINDS,
    KINDS_ON_DARK,
    p_lower_histograms,
    radius_histograms,
)
from raysmooth.pipeline.report.figures.rejection import (
    NO_HISTOGRAMS,
    image_steps,
    rejection_histograms,
    rejection_note,
    step_colours,
)
from raysmooth.pipeline.report.figures.sigmas import sigma_histograms, sigmas_note
from raysmooth.pipeline.report.figures.steps import steps_note
from raysmooth.pipeline.report.page.context import CertifiedImage, PageContext
from raysmooth.pipeline.report.page.headline import Headline, headline
from raysmooth.pipeline.report.page.opening import opening
from raysmooth.pipeline.report.page.plots import (
    bars,
    curves_alt,
    curves_of_runs,
    legend_of,
    panels_of_rejections,
    panels_of_steps,
    plot_colours,
)
from raysmooth.pipeline.report.page.run_commands import run_command
from raysmooth.pipeline.report.page.svg_paths import (
    MARKERS,
)
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.rejection import rejection_table
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE
from raysmooth.storage.location import Location

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
    all_curves, panels = curves_of_runs(data)
    rejections = rejection_histograms(data) if "rejection" in shown else NO_HISTOGRAMS
    steps = image_steps(rejections.highest)
    step_plots = panels_of_steps(data) if "steps" in shown else []
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
        colours=plot_colours(all_curves, *panels, *step_plots),
        title=context.title or f"Certificates: {', '.join(sorted(map(str, data.runs['dataset'].unique())))}",
        curves_alt=curves_alt(data),
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
        panel_names=legend_of(panels),
        histograms=[bars(found) for found in (radius_histograms(data), p_lower_histograms(data)) if found.shares],
        sigma_bars=bars(sigma_histograms(data)) if "sigmas" in shown else None,
        sigmas_note=sigmas_note(data) if "sigmas" in shown else "",
        step_panels=step_plots,
        steps_note=steps_note(data) if "steps" in shown else "",
        rejections=panels_of_rejections(data, rejections, steps),
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
