"""A table as text: for a terminal, a README, a paper, a program."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from raysmooth.common.registry import Registry


@dataclass(frozen=True, eq=False)
class PrintedTable:
    """`cells` are a table as text; `about` says what all its runs share and promise, `note` how to read it, `sure` how
    to read its intervals. `values` are what it was made of, in full precision, with columns of their own. Columns named
    in `words` are aligned left, all others right. `best`, bool, has some of the columns of `cells`: which of them to
    make bold. `name` is what its files are called.
    """

    name: str
    title: str
    about: str
    note: str
    cells: pd.DataFrame
    values: pd.DataFrame
    words: frozenset[str] = frozenset()
    best: pd.DataFrame = field(default_factory=pd.DataFrame)
    sure: str = ""

    @property
    def caption(self) -> str:
        return " ".join(filter(None, [f"{self.about}.", self.note, self.sure]))

    def side(self, column: str) -> Literal["left", "right"]:
        return "left" if column in self.words else "right"


def markdown(table: PrintedTable) -> str:
    """A GitHub table below its caption."""
    cells = table.cells.replace("[|]", r"\\|", regex=True)
    sides = [table.side(column) for column in cells.columns]
    return f"{table.caption}\n\n{cells.to_markdown(index=False, disable_numparse=True, colalign=sides)}\n"


def latex(table: PrintedTable) -> str:
    """The same for a paper, a `table` environment; needs the package booktabs."""
    lines = [r"\begin{table}[t]", rf"\caption{{{_escaped(table.caption)}}}"]
    lines += [rf"\begin{{tabular}}{{{''.join(table.side(column)[0] for column in table.cells.columns)}}}", r"\toprule"]
    lines += [_latex_row(table.cells.columns), r"\midrule"]
    lines += [_latex_row(cells) for cells in table.cells.to_numpy()]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def csv(table: PrintedTable) -> str:
    """All values, in full precision, null as nothing. Read a run_id as text."""
    return table.values.to_csv(index=False, lineterminator="\n")


def text(table: PrintedTable, console: Console) -> None:
    """Print the table to a terminal below its caption, the best cells bold."""
    cells = table.cells
    styles = pd.DataFrame("", cells.index, cells.columns)
    styles[table.best.columns] = table.best.replace({True: "bold", False: ""})
    radii = [column for column in cells.columns if column.startswith("r=")]
    for gap in (2, 1):
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
        for column in cells.columns:
            heading = column.removeprefix("r=") if column in radii[1:] else column  # said above the first radius only
            grid.add_column(heading, justify=table.side(column), no_wrap=True)
        for row, look in zip(cells.to_numpy(), styles.to_numpy(), strict=True):
            grid.add_row(*map(Text, row, look))
        grid.width = Measurement.get(console, console.options.update(max_width=10_000), grid).maximum
        if grid.width <= console.width:
            break
    lines = Text(table.caption).wrap(console, console.width)
    for line in lines:
        line.rstrip()  # rich leaves the blank at which it broke a line
    console.print(*lines, "", sep="\n")
    # A number that is cut off is a wrong number: in too narrow a terminal the lines run over instead.
    console.print(grid, crop=False, no_wrap=True, overflow="ignore")


@dataclass(frozen=True)
class Format:
    """`show` prints a table to a console; certified accuracies have their intervals beside them where `intervals` says
    so. `render` makes the text of a file whose name ends in `ending`, which is None where there is no such file.
    """

    show: Callable[[PrintedTable, Console], None]
    intervals: bool
    ending: str | None = None
    render: Callable[[PrintedTable], str] = markdown


def _written(render: Callable[[PrintedTable], str], ending: str, intervals: bool) -> Format:
    def show(table: PrintedTable, console: Console) -> None:
        console.out(render(table), highlight=False, end="")

    return Format(show, intervals, ending, render)


FORMATS: Registry[Format] = Registry(
    "report format",
    {
        "text": Format(text, intervals=False),
        "markdown": _written(markdown, "md", intervals=True),
        "latex": _written(latex, "tex", intervals=False),
        "csv": _written(csv, "csv", intervals=True),
    },
)
"""How tables are printed and written, by the name of the format."""

_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def _escaped(words: str) -> str:
    return words.translate(_LATEX)


def _latex_row(cells: object) -> str:
    return " & ".join(_escaped(str(cell)) for cell in cells) + r" \\"  # type: ignore[attr-defined]
