"""A table as text: for a terminal, a README, a paper, a program."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from raysmooth.common.registry import Registry
from raysmooth.pipeline.report.captions import Caption
from raysmooth.pipeline.report.latex import latex_caption, latex_label, latex_words

_COLUMN = 48
"""Characters that fit into one of a paper's two columns."""

_MOST_DECIMALS = 7
"""Of a radius in a table's heading in the terminal: files have all."""


_UNLIMITED = 10_000
"""Columns of a terminal in which no table wraps."""


@dataclass(frozen=True, eq=False)
class PrintedTable:
    """`cells` are the table as text; `about` states what all its runs share and guarantee, `note` how to read it,
    `intervals_note` how to read its intervals, `what` what its numbers are, unless its title says so. `values` are the
    numbers behind the cells, in full precision, with columns of their own. `text_columns` are aligned left, all others
    right. `best`, bool, has some of the columns of `cells` and marks those to print bold. `name` is the stem of its
    files.
    """

    name: str
    title: str
    about: Caption
    note: str
    cells: pd.DataFrame
    values: pd.DataFrame
    text_columns: frozenset[str] = frozenset()
    best: pd.DataFrame = field(default_factory=pd.DataFrame)
    intervals_note: str = ""
    what: str = ""

    @property
    def short_caption(self) -> str:
        """What the numbers are, and of which runs."""
        words = ": ".join(filter(None, [self.what, self.about.facts]))
        return f"{words}." if words else ""

    @property
    def notes(self) -> str:
        """What the certificates promise, and how to read the table: the rest of `caption`."""
        promise = self.about.guarantee
        sentence = f"{promise[0].upper()}{promise[1:]}." if promise else ""
        return " ".join(filter(None, [sentence, self.note, self.intervals_note]))

    @property
    def caption(self) -> str:
        return " ".join(filter(None, [self.short_caption, self.notes]))

    def side(self, column: str) -> Literal["left", "right"]:
        return "left" if column in self.text_columns else "right"

    def marked(self, mark: str) -> pd.DataFrame:
        """`mark` for the best cells and "" for all others; str, shaped as `cells`."""
        marks = pd.DataFrame("", self.cells.index, self.cells.columns)
        marks[self.best.columns] = self.best.replace({True: mark, False: ""}).to_numpy()
        return marks


def markdown(table: PrintedTable) -> str:
    """A GitHub table between its caption and its notes, the best cells bold."""
    marks = table.marked("**")
    cells = marks + table.cells.replace("([|<])", r"\\\1", regex=True) + marks
    sides = [table.side(column) for column in cells.columns]
    grid = cells.to_markdown(index=False, disable_numparse=True, colalign=sides)
    return "\n\n".join(filter(None, [table.short_caption, grid, table.notes])) + "\n"


def latex(table: PrintedTable, label: str | None = None) -> str:
    """A `table` environment for a paper, centred, with a short caption and a label, the best cells bold, and its notes
    below in small type; needs the package booktabs. A table that is wider than a column of two spans both (`table*`).
    The label is "tab:" and the table's title, or `label`, in small letters.
    """
    cells = table.cells.reset_index(drop=True)
    style = cells.style.hide(axis="index").format(escape="latex")
    style = style.format_index(_latex_heading, axis="columns")
    style = style.apply(lambda _: table.marked("textbf: --rwrap;").to_numpy(), axis=None)
    columns = "".join(table.side(column)[0] for column in cells.columns)
    # pandas leaves out lines of a table that is larger than its limit, which is meant for notebooks.
    with pd.option_context("styler.render.max_elements", cells.size + 1):
        written = style.to_latex(
            column_format=columns,
            environment="table*" if _width(cells) > _COLUMN else "table",
            position="t",
            position_float="centering",
            hrules=True,
            caption=latex_caption(table.short_caption),
            label=latex_label("tab", label or table.title),
        )
    if notes := latex_caption(table.notes):
        before, end, after = str(written).rpartition("\\end{table")
        written = f"{before}\n\\smallskip\n\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}\n{end}{after}"
    # pandas escapes all but these, which LaTeX's usual fonts lack. They are in cells and captions only.
    return str(written).replace("<", r"\textless{}").replace(">", r"\textgreater{}")


def _width(cells: pd.DataFrame) -> int:
    """Characters of a table's line, with the gaps between its columns."""
    return sum(2 + max(map(len, [str(name), *cells[name].astype(str)])) for name in cells.columns)


def _latex_heading(heading: object) -> str:
    """A column's heading, of ours: radii and sigma are formulas."""
    if heading == "sigma":
        return r"$\sigma$"
    if found := re.fullmatch(r"r=([\d.]+)( 95 %)?", str(heading)):
        return f"$r={found[1]}${latex_words(found[2] or '')}"
    return latex_words(str(heading))


def csv(table: PrintedTable) -> str:
    """All values, in full precision, null as nothing. Read a run_id as text. A text that a spreadsheet would take for a
    formula begins with an apostrophe.
    """
    return table.values.map(_no_formula).to_csv(index=False, lineterminator="\n")


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


@dataclass(frozen=True)
class _Layout:
    """How a table's `cells` stand in a terminal: blanks between columns, whether text `wraps`, and a line about columns
    that were left out.
    """

    cells: pd.DataFrame
    gap: int
    wraps: bool = False
    left_out: str = ""


_RUN = "run"
"""The column of a narrow terminal that stands for all that describe a run."""

_SETTINGS = ("n0", "n", "alpha")
"""Columns of numbers that describe a run."""


def _layouts(table: PrintedTable) -> Iterator[_Layout]:
    """From the widest to the narrowest."""
    cells = table.cells
    yield _Layout(cells, 2)
    yield _Layout(cells, 1)
    describe = [column for column in cells if column in table.text_columns or column in _SETTINGS]
    shared = [column for column in describe if len(cells) > 1 and len(set(cells[column])) == 1]
    said = f"Every line: {', '.join(f'{column} {cells[column].iloc[0]}' for column in shared)}." if shared else ""
    cells, describe = cells.drop(columns=shared), [column for column in describe if column not in shared]
    if shared:
        yield _Layout(cells, 2, False, said)
        yield _Layout(cells, 1, False, said)
    yield _Layout(cells, 1, True, said)
    if len(describe) > 1:
        runs = [", ".join(filter(None, map(_in_words, describe, own))) for own in cells[describe].to_numpy()]
        rest = cells.drop(columns=describe)
        yield _Layout(pd.concat([pd.Series(runs, cells.index, name=_RUN), rest], axis=1), 1, True, said)


def _in_words(column: str, cell: str) -> str:
    """A cell among others of its line, without its heading."""
    if cell in ("-", ""):
        return ""
    return f"{column}={cell}" if column in _SETTINGS else f"{column} {cell}" if cell in ("none", "unknown") else cell


def text(table: PrintedTable, console: Console) -> None:
    """Print the table to a terminal above its caption, which is often longer, the best cells bold. Where it is too
    wide, columns move closer; then those that describe runs are left out where they are equal in every line, which a
    line below the table says; then text wraps; then one column describes the runs. Numbers are never cut.
    """
    for layout in _layouts(table):
        grid = _grid(table, layout)
        room = Measurement.get(console, console.options.update(max_width=_UNLIMITED), grid)
        width = max(room.minimum, console.width) if layout.wraps else room.maximum
        grid.width = width
        if width <= console.width:
            break
    # A truncated number is a wrong number: in a terminal that is too narrow, lines overflow instead.
    options = console.options.update(max_width=max(width, console.width), no_wrap=True, overflow="ignore")
    for segments in console.render_lines(grid, options, pad=False):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()  # rich fills lines with blanks
        console.print(line, crop=False, no_wrap=True, overflow="ignore")
    lines = Text(" ".join(filter(None, [layout.left_out, table.caption])), style="dim").wrap(console, console.width)
    for line in lines:
        line.rstrip()  # rich keeps the blank at which it broke the line
    console.print("", *lines, sep="\n")


def _grid(table: PrintedTable, layout: _Layout) -> RichTable:
    cells = layout.cells
    radii = [column for column in cells.columns if column.startswith("r=")]
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, layout.gap - 1, 0, 0), pad_edge=False, show_edge=False)
    for column in cells.columns:
        heading = _short(column) if column in radii else column
        if column in radii[1:]:
            heading = heading.removeprefix("r=")  # "r=" stands above the first radius only
        is_text = column in table.text_columns or column == _RUN
        folds = layout.wraps and is_text
        # rich takes a column's longest word for its least width, which would cut "60.0 to 62.0".
        least = None if folds else max(map(cell_len, [heading, *cells[column]]))
        grid.add_column(heading, justify="left" if is_text else "right", no_wrap=not folds, min_width=least)
    marks = table.marked("bold").reindex(columns=cells.columns, fill_value="")
    for row, styles in zip(cells.to_numpy(), marks.to_numpy(), strict=True):
        grid.add_row(*map(Text, row, styles))
    return grid


def _short(column: str) -> str:
    """The heading of a radius, rounded down so that it claims no more: 0.2509803 for 64/255."""
    whole, _, decimals = column.partition(".")
    return column if len(decimals) <= _MOST_DECIMALS else f"{whole}.{decimals[:_MOST_DECIMALS].rstrip('0') or '0'}"


@dataclass(frozen=True)
class Format:
    """`show` prints a table to a console, with the intervals of certified accuracies where `intervals` is true.
    `heading` comes before a table's title where several are printed. `render` gives the text of a file whose name ends
    in `ending`, which is None where there is no such file.
    """

    show: Callable[[PrintedTable, Console], None]
    intervals: bool
    heading: str = ""
    ending: str | None = None
    render: Callable[[PrintedTable], str] = markdown


def _written(render: Callable[[PrintedTable], str], ending: str, intervals: bool, heading: str) -> Format:
    def show(table: PrintedTable, console: Console) -> None:
        console.out(render(table), highlight=False, end="")

    return Format(show, intervals, heading, ending, render)


FORMATS: Registry[Format] = Registry(
    "report format",
    {
        "text": Format(text, intervals=False),
        "markdown": _written(markdown, "md", intervals=True, heading="## "),
        "latex": _written(latex, "tex", intervals=False, heading="% "),
        "csv": _written(csv, "csv", intervals=True, heading="# "),
    },
)
"""How tables are printed and written, by the name of the format."""
