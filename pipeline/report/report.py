"""From certificates on disk to the tables and figures of a paper, and to a page that shows all of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.settings import split_list
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.analysis.run_checks import refuse_no_probability
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.report.figures.curves import curves_caption, plot_curves, plot_panels
from raysmooth.pipeline.report.figures.figure_file import PAPER_DPI, save_figure
from raysmooth.pipeline.report.figures.figure_text import COLUMN, WIDTHS
from raysmooth.pipeline.report.figures.histograms import (
    Histograms,
    histograms_note,
    p_lower_histograms,
    plot_histograms,
    radius_histograms,
)
from raysmooth.pipeline.report.figures.rejection import plot_rejection, rejection_note
from raysmooth.pipeline.report.figures.sigmas import plot_sigmas, sigmas_note
from raysmooth.pipeline.report.figures.steps import plot_steps, steps_note
from raysmooth.pipeline.report.latex import latex_figure
from raysmooth.pipeline.report.page.context import PageContext
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES, find_table
from raysmooth.pipeline.report.tables.formats import FORMATS, PrintedTable
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.output_file import refuse_unwritable, write_output

__all__ = ["FIGURES", "print_report", "read_certificates", "summarize", "write_report"]


@dataclass(frozen=True)
class FigureEntry:
    """The figure that accompanies a table. `stem` is that of its files; `plot` draws it, with its width in inches;
    `caption` stands below it in a paper, as it has no text of its own.
    """

    stem: str
    plot: Callable[[ReportData, float], Figure]
    caption: Callable[[ReportData], str]


def _curves_caption(data: ReportData) -> str:
    return curves_caption(data.runs)


def _histograms(stem: str, what: str, count: Callable[[ReportData], Histograms]) -> FigureEntry:
    return FigureEntry(
        stem,
        lambda data, width: plot_histograms(data, count(data), width),
        lambda data: f"{what}. {histograms_note(count(data))} {data.caption}.",
    )


FIGURES: Registry[FigureEntry] = Registry(
    "figure",
    {
        "runs": FigureEntry("curves", lambda data, width: plot_curves(data.rows, width), _curves_caption),
        "sigma": FigureEntry("curves-by-sigma", lambda data, width: plot_panels(data.rows, width), _curves_caption),
        "radii": _histograms("radii", "Certified radii, as shares of a run's images", radius_histograms),
        "p-lower": _histograms("p-lower", "Lower bounds pA, as shares of a run's images", p_lower_histograms),
        "rejection": FigureEntry("rejection", plot_rejection, lambda data: f"{rejection_note(data)} {data.caption}."),
        "sigmas": FigureEntry("sigmas", plot_sigmas, lambda data: f"{sigmas_note(data)} {data.caption}."),
        "steps": FigureEntry("steps", plot_steps, lambda data: f"{steps_note(data)} {data.caption}."),
    },
)
"""By the table's name."""

DEFAULT = ("runs",)
"""The tables of a report if none is named."""


def write_report(
    results: Where,
    radii: Sequence[float] | None = None,
    out: Where | None = None,
    *,
    where: Sequence[str] = (),
    tables: str | Collection[str] = DEFAULT,
    figure_width: str = "column",
    context: PageContext | None = None,
    **options: Any,
) -> list[Path | Location]:
    """Write the report of the runs in `results`, over an earlier one, and return its files' paths.

    The files are each of `tables` as Markdown, LaTeX and CSV, its figure as PNG and PDF with its caption in LaTeX (for
    "runs": table.md, table.tex, table.csv, curves.png, curves.pdf and curves-figure.tex), and report.html, which shows
    everything. They go into the folder `out`, created if missing; default: `<results>/report`. `tables` are names of
    TABLES, of which one text may hold several with commas between, `where` conditions for the function of that name,
    `figure_width` a name of WIDTHS, `context` what the page says besides, `options` fields of `ReportData`. Raises
    RaysmoothError as these do.
    """
    width = WIDTHS[figure_width]
    data = ReportData.of(read_certificates(results), where, radii=radii, **options)
    made = {name: _both(data, name) for name in _wanted(tables, options)}
    return _write(data, located(results), out, width, context or PageContext(), made)


def print_report(
    rows: Callable[[], pd.DataFrame],
    results: Where,
    console: Console,
    notes: Console,
    *,
    take: Callable[[PrintedTable], object] | None = None,
    tables: str | Collection[str] = (),
    format: str = "text",
    intervals: bool = False,
    out: Where | None = None,
    where: Sequence[str] = (),
    compare: str | None = None,
    familywise: float | None = None,
    radius: float | None = None,
    figure_width: str = "column",
    context: PageContext | None = None,
    **options: Any,
) -> list[Path | Location]:
    """`write_report`, with the tables printed to `console`: the command `raysmooth report`. `rows` reads the rows of
    `results`; it is called after the other arguments are checked.

    `tables`, as in `write_report`, may be "all": a table that these runs do not support is then named in `notes` and
    left out. `compare` names two runs, "RUN,RUN", to compare at `radius`; `familywise` is the delta of `holm_table` at
    `radius`. Without `tables` the report has DEFAULT, and the envelope if `group_by` is given; the answers at one
    radius are then printed alone. Several tables are printed below their headings. With `take` none is printed: it gets
    each table instead.
    """
    chosen, wanted, width = FORMATS[format], _wanted(tables, options), WIDTHS[figure_width]
    pair = _pair(compare) if compare is not None else None
    _refuse_radius(radius, compare is not None, familywise)
    data = ReportData.of(rows(), where, **options)
    more = []
    if pair is not None and radius is not None:
        from raysmooth.pipeline.report.tables.comparison import comparison_table  # imports statsmodels, which takes 1 s

        more.append(comparison_table(data, *pair, radius))
    if familywise is not None and radius is not None:
        from raysmooth.pipeline.report.tables.holm import holm_table  # imports torch

        more.append(holm_table(data, familywise, radius))
    made = {}
    for name in wanted:
        try:
            made[name] = _both(data, name)
        except RaysmoothError as refusal:
            if "all" not in _names(tables):
                raise
            notes.print(f"no table {name}: {refusal}")
    printed = [both[intervals or chosen.intervals] for both in made.values()] if tables or not more else []
    shown = [*printed, *more]
    _folder(results, out)  # one that cannot be written is refused before anything is printed
    for place, table in enumerate(shown):
        if take is not None:
            take(table)
            continue
        if place:
            console.print()
        if len(shown) > 1:
            console.print(f"{chosen.heading}{table.title}\n", style="bold", markup=False, highlight=False)
        chosen.show(table, console)
    return _write(data, located(results), out, width, context or PageContext(), made, *more)


def _names(tables: str | Collection[str]) -> list[str]:
    """The names in `tables`, each of which may be several with commas between."""
    written = [tables] if isinstance(tables, str) else tables
    return [name for text in written for name in split_list(text) or [text]]


def _wanted(tables: str | Collection[str], options: Mapping[str, Any]) -> Sequence[str]:
    """The names of tables, each checked."""
    names = _names(tables)
    if "all" in names:
        return tuple(TABLES)
    for name in names:
        find_table(name)
    return tuple(dict.fromkeys(names)) or (("runs", "envelope") if options.get("group_by") else DEFAULT)


def _pair(compare: str) -> tuple[str, str]:
    runs = split_list(compare)
    if len(runs) != 2:
        raise RaysmoothError(f"--compare {compare}: write two run ids with a comma between, such as 3f2a,b71c")
    return runs[0], runs[1]


def _refuse_radius(radius: float | None, compare: bool, familywise: float | None) -> None:
    """Raises RaysmoothError for a radius that no flag uses, a flag that lacks its radius, and an impossible delta."""
    if familywise is not None:
        refuse_no_probability(familywise)
    if radius is None and compare:
        raise RaysmoothError("--compare needs a radius to compare at: write --radius 0.5, for example")
    if radius is None and familywise is not None:
        raise RaysmoothError(
            "--familywise needs the radius of its answers: write --radius 0.5, for example; for all radii at once, use "
            f"'raysmooth recertify --familywise {familywise:g}'"
        )
    if radius is not None and not compare and familywise is None:
        raise RaysmoothError(
            "--radius belongs to --compare RUN,RUN or --familywise DELTA: write --radii for the radii of tables"
        )


def _both(data: ReportData, name: str) -> tuple[PrintedTable, PrintedTable]:
    """A table without intervals and with them."""
    make = find_table(name)
    return make(data, False), make(data, True)


def _write(
    data: ReportData,
    results: Location,
    out: Where | None,
    width: float,
    context: PageContext,
    made: Mapping[str, tuple[PrintedTable, PrintedTable]],
    *more: PrintedTable,
) -> list[Path | Location]:
    folder, files = _folder(results, out), []
    for name, both in made.items():
        files += _write_table(folder, *both)
        if name in FIGURES:
            files += _write_figure(folder, data, FIGURES[name], width)
    for table in more:
        files += _write_table(folder, table, table)
    files.append(folder / "report.html")
    shown = {name: with_intervals for name, (_, with_intervals) in made.items()}
    write_output(render_page(data, results, shown, *more, context=context), files[-1], "--out")
    return [file.outward for file in files]


def _folder(results: Where, out: Where | None) -> Location:
    folder = located(out) if out is not None else located(results) / "report"
    with refuse_unwritable(folder, "--out"):
        folder.make_folder()
    return folder


def _write_figure(folder: Location, data: ReportData, entry: FigureEntry, width: float) -> list[Location]:
    figures = [folder / f"{entry.stem}.png", folder / f"{entry.stem}.pdf"]
    save_figure(entry.plot(data, width), *figures, flag="--out", dpi=PAPER_DPI)
    environment = latex_figure(f"{entry.stem}.pdf", entry.caption(data), entry.stem, spans_page=width > COLUMN)
    caption = folder / f"{entry.stem}-figure.tex"
    write_output(environment, caption, "--out")
    return [*figures, caption]


def _write_table(folder: Location, plain: PrintedTable, with_intervals: PrintedTable) -> list[Location]:
    files = []
    for form in FORMATS.values():
        if form.ending is not None:
            files.append(folder / f"{plain.name}.{form.ending}")
            write_output(form.render(with_intervals if form.intervals else plain), files[-1], "--out")
    return files
