"""From certificates on disk to the tables and figures of a paper, and to a page that shows all of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.analysis.run_checks import refuse_no_probability
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.report.figures.curves import plot_curves, plot_panels
from raysmooth.pipeline.report.figures.figure_file import save_figure
from raysmooth.pipeline.report.figures.histograms import pa_histograms, plot_histograms, radius_histograms
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.formats import FORMATS, PrintedTable
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.output_file import refuse_unwritable, write_output

__all__ = ["FIGURES", "print_report", "read_certificates", "summarize", "write_report"]

FIGURES: Registry[tuple[str, Callable[[ReportData], Figure]]] = Registry(
    "figure",
    {
        "runs": ("curves", lambda reported: plot_curves(reported.rows)),
        "sigma": ("curves-by-sigma", lambda reported: plot_panels(reported.rows)),
        "radii": ("radii", lambda reported: plot_histograms(reported, radius_histograms(reported))),
        "pa": ("pa", lambda reported: plot_histograms(reported, pa_histograms(reported))),
    },
)
"""The figure that goes with a table, by the table's name: what its files are called, and how it is drawn."""

DEFAULT = ("runs",)
"""The tables of a report that was asked for none."""


def write_report(
    out: Where,
    radii: Sequence[float] | None = None,
    folder: Where | None = None,
    *,
    where: Sequence[str] = (),
    tables: Collection[str] = DEFAULT,
    **options: Any,
) -> list[Path | Location]:
    """Write the report of the runs under `out`, over an earlier one, and return its files' paths.

    They are those of each of `tables` (names of TABLES), Markdown, LaTeX and CSV, its figure as PNG and PDF (of "runs"
    table.md, table.tex, table.csv, curves.png and curves.pdf), and report.html, which has everything. They go into
    `folder`, by default `<out>/report`, which is made. `where` are conditions of that function, `options` fields of
    `ReportData`. Raises RaysmoothError as these do.
    """
    reported = ReportData.of(read_certificates(out), where, radii=radii, **options)
    return _write(reported, located(out), folder, {name: _both(reported, name) for name in tables})


def print_report(
    rows: Callable[[], pd.DataFrame],
    out: Where,
    console: Console,
    notes: Console,
    *,
    tables: Sequence[str] = (),
    format: str = "text",
    intervals: bool = False,
    folder: Where | None = None,
    where: Sequence[str] = (),
    compare: str | None = None,
    familywise: float | None = None,
    radius: float | None = None,
    **options: Any,
) -> list[Path | Location]:
    """`write_report`, and the tables printed to `console`; what `raysmooth report` does. `rows` gives those that are
    under `out`, and is called when all else is known to be right.

    `tables` may be "all": then one that these runs have not is told to `notes`, and left out. `compare` names two runs,
    to be compared at `radius`, "RUN,RUN"; `familywise` is the delta of `holm_table` at `radius`. Without tables it is
    DEFAULT, and the envelope where lines for it are given; what is asked at a radius is then printed alone.
    """
    shown, wanted = FORMATS[format], _wanted(tables, options)
    pair = _pair(compare) if compare is not None else None
    _refuse_radius(radius, compare is not None, familywise)
    reported = ReportData.of(rows(), where, **options)
    more = []
    if pair is not None and radius is not None:
        from raysmooth.pipeline.report.tables.comparison import (
            comparison_table,  # statsmodels comes with it, for a second
        )

        more.append(comparison_table(reported, *pair, radius))
    if familywise is not None and radius is not None:
        from raysmooth.pipeline.report.tables.holm import holm_table  # torch comes with it

        more.append(holm_table(reported, familywise, radius))
    made = {}
    for name in wanted:
        try:
            made[name] = _both(reported, name)
        except RaysmoothError as refusal:
            if "all" not in tables:
                raise
            notes.print(f"no table {name}: {refusal}")
    printed = [pair[intervals or shown.intervals] for pair in made.values()] if tables or not more else []
    for place, table in enumerate([*printed, *more]):
        if place:
            console.print()
        shown.show(table, console)
    return _write(reported, located(out), folder, made, *more)


def _wanted(tables: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
    """The names of tables, each checked."""
    if "all" in tables:
        return tuple(TABLES)
    for name in tables:
        TABLES[name]
    return tuple(dict.fromkeys(tables)) or (("runs", "envelope") if options.get("group_by") else DEFAULT)


def _pair(compare: str) -> tuple[str, str]:
    runs = [name.strip() for name in compare.split(",")]
    if len(runs) != 2 or not all(runs):
        raise RaysmoothError(f"--compare {compare}: write two run ids with a comma between, such as 3f2a,b71c")
    return runs[0], runs[1]


def _refuse_radius(radius: float | None, compare: bool, familywise: float | None) -> None:
    """Raises RaysmoothError where nothing is asked at a radius, or something at none, and for a delta that is none."""
    if familywise is not None:
        refuse_no_probability(familywise)
    if radius is None and compare:
        raise RaysmoothError("--compare needs the radius to compare at: write --radius 0.5, say")
    if radius is None and familywise is not None:
        raise RaysmoothError(
            "--familywise needs the radius of its answers: write --radius 0.5, say; for all radii at once it is "
            f"'raysmooth recertify --familywise {familywise:g}'"
        )
    if radius is not None and not compare and familywise is None:
        raise RaysmoothError(
            "--radius is that of --compare RUN,RUN or --familywise DELTA: write --radii for tables' radii"
        )


def _both(reported: ReportData, name: str) -> tuple[PrintedTable, PrintedTable]:
    """A table without intervals and with them."""
    return TABLES[name](reported, False), TABLES[name](reported, True)


def _write(
    reported: ReportData,
    out: Location,
    folder: Where | None,
    made: Mapping[str, tuple[PrintedTable, PrintedTable]],
    *more: PrintedTable,
) -> list[Path | Location]:
    where = located(folder) if folder is not None else out / "report"
    with refuse_unwritable(where, "--folder"):
        where.make_folder()
    files = []
    for name, both in made.items():
        files += _write_table(where, *both)
        if name in FIGURES:
            stem, draw = FIGURES[name]
            figures = [where / f"{stem}.png", where / f"{stem}.pdf"]
            save_figure(draw(reported), *figures, flag="--folder")
            files += figures
    for table in more:
        files += _write_table(where, table, table)
    files.append(where / "report.html")
    page = render_page(reported, out, {name: sure for name, (_, sure) in made.items()}, *more)
    write_output(page, files[-1], "--folder")
    return [file.outward for file in files]


def _write_table(folder: Location, plain: PrintedTable, sure: PrintedTable) -> list[Location]:
    files = []
    for shown in FORMATS.values():
        if shown.ending is not None:
            files.append(folder / f"{plain.name}.{shown.ending}")
            write_output(shown.render(sure if shown.intervals else plain), files[-1], "--folder")
    return files
