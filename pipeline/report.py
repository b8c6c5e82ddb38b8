"""From certificates on disk to the tables and figures of a paper, and to a page that shows all of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from rich.console import Console

from actors.refusal import Refusal
from actors.table import Table
from pipeline.curves import draw_curves, draw_panels
from pipeline.figure_file import DPI
from pipeline.formats import FORMATS, PrintedTable
from pipeline.histograms import draw_histograms, pa_histograms, radius_histograms
from pipeline.location import Location, Where, located
from pipeline.page import render_page
from pipeline.reading import read_certificates
from pipeline.report_tables import TABLES
from pipeline.reported import Reported
from pipeline.summary import summarize

__all__ = ["FIGURES", "print_report", "read_certificates", "summarize", "write_report"]

FIGURES: Table[tuple[str, Callable[[Reported], Figure]]] = Table(
    "figure",
    {
        "runs": ("curves", lambda reported: draw_curves(reported.rows)),
        "sigma": ("curves-by-sigma", lambda reported: draw_panels(reported.rows)),
        "radii": ("radii", lambda reported: draw_histograms(reported, radius_histograms(reported))),
        "pa": ("pa", lambda reported: draw_histograms(reported, pa_histograms(reported))),
    },
)
"""The figure that goes with a table, by the table's name: what its files are called, and how it is drawn."""

_FINER = (0.25, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Steps of a default table's radii in linf: the first that goes three times into the largest radius is taken."""


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
    `Reported`. Raises Refusal as these do.
    """
    reported = Reported.of(read_certificates(out), where, radii=radii, **options)
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
    radius: float | None = None,
    **options: Any,
) -> list[Path | Location]:
    """`write_report`, and the tables printed to `console`; what `raysmooth report` does. `rows` gives those that are
    under `out`, and is called when all else is known to be right.

    `tables` may be "all": then one that these runs have not is told to `notes`, and left out. `compare` names two runs,
    to be compared at `radius`, "RUN,RUN". Without tables it is DEFAULT, and the envelope where lines for it are given;
    a comparison alone is printed alone.
    """
    shown, wanted = FORMATS[format], _wanted(tables, options)
    pair = _pair(compare, radius)
    reported = Reported.of(rows(), where, **options)
    more = []
    if pair is not None:
        from pipeline.comparison_table import comparison_table  # statsmodels comes with it, for a second

        more.append(comparison_table(reported, *pair))
    made = {}
    for name in wanted:
        try:
            made[name] = _both(reported, name)
        except Refusal as refusal:
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


def _pair(compare: str | None, radius: float | None) -> tuple[str, str, float] | None:
    if compare is None:
        if radius is not None:
            raise Refusal("--radius is that of --compare RUN,RUN: write --radii for the radii of tables")
        return None
    runs = [name.strip() for name in compare.split(",")]
    if len(runs) != 2 or not all(runs):
        raise Refusal(f"--compare {compare}: write two run ids with a comma between, such as 3f2a,b71c")
    if radius is None:
        raise Refusal("--compare needs the radius to compare at: write --radius 0.5, say")
    return runs[0], runs[1], radius


def _both(reported: Reported, name: str) -> tuple[PrintedTable, PrintedTable]:
    """A table without intervals and with them."""
    return TABLES[name](reported, False), TABLES[name](reported, True)


def _write(
    reported: Reported,
    out: Location,
    folder: Where | None,
    made: Mapping[str, tuple[PrintedTable, PrintedTable]],
    *more: PrintedTable,
) -> list[Path | Location]:
    where = located(folder) if folder is not None else out / "report"
    try:
        where.make_folder()
    except OSError as error:
        raise Refusal(f"--folder {where}: {error.strerror or error}: write one that can be made") from None
    files = []
    for name, both in made.items():
        files += _write_table(where, *both)
        if name in FIGURES:
            stem, draw = FIGURES[name]
            files += _write_figure(draw(reported), where, stem)
    for table in more:
        files += _write_table(where, table, table)
    page = render_page(reported, out, {name: sure for name, (_, sure) in made.items()}, *more)
    files.append(_written(where / "report.html", page.encode()))
    return [file.outward for file in files]


def _write_table(folder: Location, plain: PrintedTable, sure: PrintedTable) -> list[Location]:
    return [
        _written(folder / f"{plain.name}.{shown.ending}", shown.render(sure if shown.intervals else plain).encode())
        for shown in FORMATS.values()
        if shown.ending is not None
    ]


def _write_figure(figure: Figure, folder: Location, stem: str) -> list[Location]:
    # Not savefig, which goes through every figure twice.
    png, pdf = BytesIO(), BytesIO()
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(png)
    figure.set_layout_engine("none")  # it is laid out now
    with rc_context({"pdf.fonttype": 42}):  # publishers refuse matplotlib's default, Type 3
        FigureCanvasPdf(figure).print_pdf(pdf)
    return [_written(folder / f"{stem}.{ending}", drawn.getvalue()) for ending, drawn in (("png", png), ("pdf", pdf))]


def _written(file: Location, content: bytes) -> Location:
    try:
        file.write_whole(content, durable=False)
    except OSError as error:
        raise Refusal(f"{file} cannot be written: {error.strerror or error}: write another --folder") from None
    return file
