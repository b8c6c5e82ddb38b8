"""report and import: reports of all rows, and rows from other tools' logs."""

import atexit
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.flags import RESULTS, renamed, settings_command, to_number
from raysmooth.commands.outcome import command_line, print_summary, print_written, say_failures
from raysmooth.commands.usage import COMMON, HELP_ALL, CommandWithExamples
from raysmooth.common.errors import RaysmoothError, counted, printable
from raysmooth.common.numbers import numbers
from raysmooth.common.settings import split_list

if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.derived.import_settings import ImportSettings

TABLES = (
    "runs", "envelope", "sigma", "radii", "p-lower", "rejection", "sigmas", "steps", "classes", "top-k",
    "cost", "wrong-certificates", "errors"
)  # fmt: skip
FORMATS = ("text", "markdown", "latex", "csv")
WIDTHS = ("column (3.25 inches)", "page (6.75)")
"""The names of the registries TABLES, FORMATS and WIDTHS of a report, here without importing them."""

TABLE, PICTURES = "Further tables", "Figures and page"
"""Headings of the report's further flags."""


@app.command("report", cls=CommandWithExamples, rich_help_panel="Results")
def report_command(
    results: Annotated[str, RESULTS],
    table: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Tables to print and write, comma-separated: {', '.join(TABLES)}, or all; repeatable. Default: runs.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Filter runs: COLUMN=VALUE, such as sigma=0.5; repeatable.", rich_help_panel=COMMON),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="Columns that define the lines of the envelope, such as denoiser,objective.", rich_help_panel=TABLE
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Two runs to compare image by image: RUN,RUN (ids or their first characters).", rich_help_panel=TABLE
        ),
    ] = None,
    familywise: Annotated[
        float | None,
        typer.Option(
            metavar="DELTA",
            parser=to_number,
            help="List images certified at --radius such that all answers of a run are right with "
            "probability 1 - DELTA (Holm).",
            show_default=False,
            rich_help_panel=TABLE,
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(parser=to_number, help="Radius of --compare and --familywise.", rich_help_panel=TABLE),
    ] = None,
    radii: Annotated[
        str | None,
        typer.Option(help="Radii of the tables, such as 0,0.25,0.5.", show_default=False, rich_help_panel=COMMON),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help=f"Format to print: {', '.join(FORMATS)}.", rich_help_panel=COMMON)
    ] = "text",
    intervals: Annotated[
        bool,
        typer.Option(
            "--intervals",
            help="Print the 95 % intervals of certified accuracies in any format.",
            rich_help_panel=COMMON,
        ),
    ] = False,
    price_per_hour: Annotated[
        float | None,
        typer.Option(parser=to_number, help="Price of one replica for an hour.", rich_help_panel=TABLE),
    ] = None,
    figure_width: Annotated[
        str,
        typer.Option(help=f"Width of the figures in a paper: {' or '.join(WIDTHS)}.", rich_help_panel=PICTURES),
    ] = "column",
    image: Annotated[
        bool,
        typer.Option(
            "--image/--no-image",
            help="Show a certified image on the page, where data allow it.",
            rich_help_panel=PICTURES,
        ),
    ] = True,
    out: Annotated[
        str | None,
        typer.Option(help="Folder for the files. Default: RESULTS/report.", show_default=False, rich_help_panel=COMMON),
    ] = None,
    help_all: Annotated[bool, HELP_ALL] = False,
    folder: Annotated[str | None, renamed("--folder", "--out")] = None,
) -> None:
    """Report certificates: tables as text, Markdown, LaTeX and CSV, figures as PNG and PDF, and all of them on one
    self-contained HTML page, report.html, which opens with the result in a sentence and a certified image.

    **Examples**

    `raysmooth report results --radii 0,0.25,0.5,0.75,1.0 --format markdown`

    `raysmooth report results --table runs,envelope --where dataset=cifar10 --group-by denoiser,objective`

    `raysmooth report results --compare 3f2a,b71c --radius 0.5`

    `raysmooth report results --familywise 0.05 --radius 0.5`
    """
    grid = read_radii(radii) if radii is not None else None
    groups = (split_list(group_by) or [group_by]) if group_by is not None else None
    say_loading("pandas", "reading rows")
    with _without_garbage_collection(), ThreadPoolExecutor(1) as reader:
        from raysmooth.pipeline.analysis.certificates import read_certificates

        rows = reader.submit(read_certificates, results)
        from raysmooth.pipeline.analysis.failures import failures
        from raysmooth.pipeline.pictures.page_image import certified_image  # while the rows are read
        from raysmooth.pipeline.report.page.context import PageContext
        from raysmooth.pipeline.report.report import print_report
        from raysmooth.pipeline.store.manifest import missing_manifests, without_manifest
        from raysmooth.storage.object_store import notify

        files = print_report(
            rows.result,
            results,
            Console(),
            notes,
            tables=table or (),
            format=format_,
            intervals=intervals,
            out=out,
            where=where or (),
            compare=compare,
            familywise=familywise,
            radius=radius,
            radii=grid,
            group_by=groups,
            price_per_hour=price_per_hour,
            figure_width=figure_width,
            context=PageContext(command=command_line(), image=partial(certified_image, results) if image else None),
        )
    if missing := without_manifest(results, "certify"):
        notify(missing_manifests(missing, "their rows are not compared with their settings"))
    say_failures(failures(rows.result()))
    if unreached := _unreached([*(grid or ()), *([radius] if radius is not None else [])], rows.result()):
        notes.print(unreached)
    print_written(files)


def _unreached(radii: list[float], rows: "pd.DataFrame") -> str | None:
    """What to say of a radius that no image reaches and that may be one of pixels from 0 to 255."""
    from raysmooth.actors.noise.pixel_scale import LARGEST, in_pixel_units

    largest = rows["radius"].astype(float).max()
    far = [radius for radius in radii if radius > LARGEST and not radius <= largest]
    if not far:
        return None
    return (
        f"no image is certified at radius {far[0]:g}; radii are distances of pixels in [0, 1]: for {far[0]:g} of 255 "
        f"grey levels write {in_pixel_units(far[0])}"
    )


@settings_command(app, "import", "raysmooth.pipeline.derived.import_settings:ImportSettings", panel="Results")
def import_command(
    settings: "ImportSettings",
    logs: Annotated[
        list[str],
        typer.Argument(
            metavar="LOG", help="Logs, tab-separated: idx label predict radius correct time; or answers (.jsonl)."
        ),
    ],
) -> None:
    """Import certification logs of other tools, each as a run of its own.

    **Example**

    `raysmooth import sigma_*.tsv --dataset cifar10 --split test --skip 20 --classifier cifar_resnet110 --denoiser none`

    Facts given neither by a log nor by a flag are unknown. Importing the same log again changes nothing. A log without
    a certificate is left out, unless --strict.
    """
    from raysmooth.pipeline.analysis.certificates import read_certificates
    from raysmooth.pipeline.derived.log_import import import_logs

    imported = import_logs(logs, settings, notes.print)
    shared = [note for note in imported[0].notes if len(imported) > 1 and all(note in log.notes for log in imported)]
    for log in imported:
        what = (
            f"{counted(log.rows, 'row')}, imported as run {log.run_id}"
            if log.new
            else f"already imported as run {log.run_id}"
        )
        own = [note for note in log.notes if note not in shared]
        notes.print(f"{printable(str(log.path))}: {'; '.join([what, *own])}")
    for note in shared:
        notes.print(f"all logs: {note}")
    rows = read_certificates(settings.out)
    print_summary(rows[rows["run_id"].isin([log.run_id for log in imported])])


def read_radii(text: str) -> list[float]:
    """The numbers of --radii; raises RaysmoothError for other text."""
    try:
        return numbers(text)
    except ValueError:
        raise RaysmoothError(f"--radii {text}: write numbers with commas between, such as 0,0.25,0.5") from None


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Garbage collection takes a fifth of a command of a few seconds, including the end of the process."""
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
