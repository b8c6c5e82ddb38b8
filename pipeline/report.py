"""From certificates on disk to the tables and figures of a paper, and to a page that shows all of them."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from actors.table import Table
from pipeline.curves import draw_curves, draw_panels
from pipeline.formats import FORMATS, PrintedTable
from pipeline.histograms import draw_histograms, pa_histograms, radius_histograms
from pipeline.page import render_page
from pipeline.reading import read_certificates
from pipeline.report_tables import TABLES
from pipeline.reported import Reported
from pipeline.summary import summarize

__all__ = ["FIGURES", "read_certificates", "summarize", "write_files", "write_report"]

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


def write_report(
    out: str | Path,
    radii: Sequence[float] | None = None,
    folder: str | Path | None = None,
    *,
    where: Sequence[str] = (),
    tables: Collection[str] = ("runs",),
    **options: Any,
) -> list[Path]:
    """Write the report of the runs under `out`, over an earlier one, and return its files' paths.

    They are report.html, which has everything, and of each of `tables` (names of TABLES) Markdown, LaTeX and CSV, its
    figure as PNG and PDF: table.md, table.tex, table.csv, curves.png and curves.pdf of "runs". They go into `folder`, by
    default `<out>/report`, which is made. `where` are conditions of that function, `options` fields of `Reported`.
    Raises Refusal as these do.
    """
    reported = Reported.read(out, where, radii=radii, **options)
    return write_files(reported, out, folder, tables)


def write_files(
    reported: Reported,
    out: str | Path,
    folder: str | Path | None = None,
    tables: Collection[str] = ("runs",),
    comparison: PrintedTable | None = None,
) -> list[Path]:
    """`write_report` of what was read already from `out`; with a comparison of two runs, this among the tables."""
    folder = Path(folder) if folder is not None else Path(out) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in tables:
        plain, sure = TABLES[name](reported, False), TABLES[name](reported, True)
        written += _write_table(folder, plain, sure)
        if name in FIGURES:
            stem, draw = FIGURES[name]
            figure = draw(reported)
            with rc_context({"pdf.fonttype": 42}):  # publishers refuse matplotlib's default, Type 3
                for path in (paths := [folder / f"{stem}.png", folder / f"{stem}.pdf"]):
                    figure.savefig(path, dpi=150)
                    figure.set_layout_engine("none")  # it is laid out now
            written += paths
    if comparison is not None:
        written += _write_table(folder, comparison, comparison)
    page = folder / "report.html"
    page.write_text(render_page(reported, Path(out), comparison), encoding="utf-8")
    return [*written, page]


def _write_table(folder: Path, plain: PrintedTable, sure: PrintedTable) -> list[Path]:
    written = []
    for format_ in FORMATS.values():
        if format_.ending is not None:
            written.append(folder / f"{plain.name}.{format_.ending}")
            written[-1].write_text(format_.render(sure if format_.intervals else plain), encoding="utf-8")
    return written
