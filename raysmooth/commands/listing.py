"""Lists of names as a terminal of any width can show them: a table, or a block of lines for each name."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysmooth.common.errors import RaysmoothError, nearest, printable

Rows: TypeAlias = Sequence[Mapping[str, Any]]
"""The rows of a list, by column; the first column has the names."""

_GAP = 2
"""Characters between columns."""

_NARROWEST = 36
"""Characters that a column of sentences needs. Below that, words stand alone on their lines."""

_UNLIMITED = 10_000
"""Characters of a line that is not for a terminal."""


def print_list(rows: Rows, details: str) -> None:
    """Print one row for each name, the first column. Where a terminal is too narrow, columns are left out, from the
    right, until the last one that stays has room for its text; a note then says that `details` shows everything.
    Without room for two columns, each name stands on a line of its own above its text. What is no terminal, such as a
    pipe, gets every column, one line for each name.
    """
    console, columns = Console(), list(rows[0])
    if not console.is_terminal:
        console = Console(width=sum(_widths(rows, columns)) + _GAP * len(columns))
    shown = columns
    while len(shown) > 2 and _room(rows, shown, console.width) < 0:
        shown = shown[:-1]
    if _room(rows, shown, console.width) < 0:
        for name, text in ((str(row[shown[0]]), str(row[shown[1]])) for row in rows):
            console.print(Text(name, "bold"))
            print(textwrap.fill(text, console.width, initial_indent="  ", subsequent_indent="  "))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for column in shown:
            table.add_column(column, overflow="fold", no_wrap=column != shown[-1])  # names are for copying
        for row in rows:
            table.add_row(*(Text(str(row[column])) for column in shown))
        console.print(table)
    if left := columns[len(shown) :]:
        print(f"\nwith {', '.join(left)}: {details}")


def print_entry(rows: Rows, name: str, what: str) -> None:
    """Print all columns of one name, a line for each. Raises RaysmoothError for a name that is not in the list."""
    columns = list(rows[0])
    names = [str(row[columns[0]]) for row in rows]
    if name not in names:
        raise RaysmoothError(f"list {what}: no '{printable(name)}': {nearest(name, names)}")
    console = Console()
    width = console.width if console.is_terminal else _UNLIMITED
    indent = max(map(len, columns)) + _GAP
    for column, value in rows[names.index(name)].items():
        if str(value):
            label = f"{column:<{indent}}"
            print(textwrap.fill(str(value), width, initial_indent=label, subsequent_indent=" " * indent))


def _widths(rows: Rows, columns: Sequence[str]) -> list[int]:
    return [max(len(column), *(len(str(row[column])) for row in rows)) for column in columns]


def _room(rows: Rows, columns: Sequence[str], width: int) -> int:
    """Characters that the last column has beyond those that it needs; below 0, it is too narrow."""
    *before, last = _widths(rows, columns)
    return width - sum(before) - _GAP * len(before) - min(last, _NARROWEST)
