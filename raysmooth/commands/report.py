"""recertify, import and report: rows out of stored counts and of other tools' logs, and what all rows say."""

import atexit
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from raysmooth.commands.app import app, notes
from raysmooth.commands.flags import settings_command
from raysmooth.commands.outcome import print_errors, print_summary
from raysmooth.common.errors import RaysmoothError

if TYPE_CHECKING:
    from raysmooth.pipeline.derived.log_import import ImportSettings

TABLES = ("runs", "envelope", "sigma", "radii", "pa", "classes", "cost", "sure")
FORMATS = ("text", "markdown", "latex", "csv")
"""What `report` can show, and how: the names of the tables of the same name."""


@app.command("recertify", rich_help_panel="Results")
def recertify_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    run: Annotated[
        str | None,
        typer.Option(help="Runs, as their ids begin, with commas between. Default: all drawn.", show_default=False),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Probability with which an image's statement may be wrong.", show_default=False)
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="Take the first so many estimation draws, whole blocks.", show_default=False)
    ] = None,
    noise_bound: Annotated[
        str | None,
        typer.Option(
            help="What bounds the other classes: complement (1 - pA) or runner-up (that of the largest other count).",
            show_default=False,
        ),
    ] = None,
    familywise: Annotated[
        float | None,
        typer.Option(
            metavar="DELTA",
            help="Every image at alpha = DELTA / images: all of a run hold at once with probability 1 - DELTA.",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="Norm of the radius: linf of runs with Gaussian noise.", show_default=False)
    ] = None,
) -> None:
    """Certify anew from stored counts, without drawing: the rows become runs of their own, beside those drawn.

    **Examples**

    `raysmooth recertify results --n 1000`

    `raysmooth recertify results --run 0f3a --familywise 0.05 --noise-bound runner-up`
    """
    from raysmooth.pipeline.derived.recertify import recertify
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    rows = recertify(out, run, alpha=alpha, n=n, noise_bound=noise_bound, familywise=familywise, norm=norm)
    print_summary(rows)
    for source, run_id in rows[["source", "run_id"]].drop_duplicates().itertuples(index=False):
        notes.print(f"{source}: run {run_id}")
    print_errors(rows, out, PROCEDURES["certify"].folder)


@app.command("report", rich_help_panel="Results")
def report_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    table: Annotated[
        list[str] | None, typer.Option(help=f"What to show and write: {', '.join(TABLES)}, or all. Default: runs.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only runs of which this is so: COLUMN=VALUE, such as sigma=0.5.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Columns that make the lines of the envelope, such as denoiser,objective.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Two runs to compare image by image: RUN,RUN (run ids may be cut short).")
    ] = None,
    familywise: Annotated[
        float | None,
        typer.Option(
            metavar="DELTA",
            help="Which images are certified at --radius, all answers of a run right at once with probability "
            "1 - DELTA (Holm).",
            show_default=False,
        ),
    ] = None,
    radius: Annotated[float | None, typer.Option(help="Radius of --compare and --familywise.")] = None,
    radii: Annotated[
        str | None, typer.Option(help="Radii of the tables, such as 0,0.25,0.5.", show_default=False)
    ] = None,
    format_: Annotated[str, typer.Option("--format", help=f"What to print: {', '.join(FORMATS)}.")] = "text",
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Print the 95 % intervals of certified accuracies in any format.")
    ] = False,
    price_per_hour: Annotated[float | None, typer.Option(help="What an hour of a replica costs.")] = None,
    folder: Annotated[
        str | None, typer.Option(help="Where the files go. Default: OUT/report.", show_default=False)
    ] = None,
) -> None:
    """Report certificates: tables as text, Markdown, LaTeX and CSV, figures as PNG and PDF, and all of it as one HTML
    page, report.html, which needs no other file.

    **Examples**

    `raysmooth report results --radii 0,0.25,0.5,0.75,1.0 --format markdown`

    `raysmooth report results --table envelope --where dataset=cifar10 --group-by denoiser,objective`

    `raysmooth report results --compare 3f2a,b71c --radius 0.5`

    `raysmooth report results --familywise 0.05 --radius 0.5`
    """
    grid = _numbers(radii) if radii is not None else None
    groups = [name.strip() for name in group_by.split(",")] if group_by is not None else None
    with _in_haste(), ThreadPoolExecutor(1) as reader:
        from raysmooth.pipeline.analysis.certificates import read_certificates

        rows = reader.submit(read_certificates, out)
        from raysmooth.pipeline.report.report import print_report  # while these are read

        files = print_report(
            rows.result,
            out,
            Console(),
            notes,
            tables=table or (),
            format=format_,
            intervals=intervals,
            folder=folder,
            where=where or (),
            compare=compare,
            familywise=familywise,
            radius=radius,
            radii=grid,
            group_by=groups,
            price_per_hour=price_per_hour,
        )
    notes.print(f"written: {', '.join(str(file) for file in files)}")


@settings_command(app, "import", "raysmooth.pipeline.derived.log_import:ImportSettings", panel="Results")
def import_command(
    settings: "ImportSettings",
    logs: Annotated[
        list[str], typer.Argument(metavar="LOG", help="Logs, tab-separated: idx label predict radius correct time.")
    ],
) -> None:
    """Import certification logs of other tools, each as a run of its own.

    **Example**

    `raysmooth import sigma_*.tsv --dataset cifar10 --split test --skip 20 --classifier cifar_resnet110 --denoiser none`

    What the logs do not say, and no flag says, is unknown. The same log again is the same run, and left as it is.
    """
    from raysmooth.pipeline.analysis.certificates import read_certificates
    from raysmooth.pipeline.derived.log_import import import_logs as import_job

    imported = import_job(logs, settings)
    shared = [note for note in imported[0].notes if len(imported) > 1 and all(note in log.notes for log in imported)]
    for log in imported:
        what = f"{log.rows} rows, now run {log.run_id}" if log.new else f"nothing to do, it is run {log.run_id} already"
        notes.print(f"{log.path}: {'; '.join([what, *(note for note in log.notes if note not in shared)])}")
    for note in shared:
        notes.print(f"all: {note}")
    rows = read_certificates(settings.out)
    print_summary(rows[rows["run_id"].isin([log.run_id for log in imported])])


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RaysmoothError(f"--radii {text}: write numbers with commas between, such as 0,0.25,0.5") from None


@contextmanager
def _in_haste() -> Iterator[None]:
    """Without looking for garbage, which takes a fifth of what lasts a few seconds, the end of the process included."""
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
