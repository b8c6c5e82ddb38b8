"""Summary and errors of the rows that a command produced, and the files that it wrote."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from raysmooth.commands.app import notes
from raysmooth.common.errors import printable

if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.analysis.failures import Failures
    from raysmooth.storage.location import Location

PAGE = "report.html"
"""The name of a report's page."""


def print_summary(rows: "pd.DataFrame") -> None:
    """Print a table of the runs for each norm: radii of different norms share no columns."""
    from raysmooth.pipeline.analysis.summary import summarize
    from raysmooth.pipeline.report.tables.formats import FORMATS
    from raysmooth.pipeline.report.tables.runs import runs_table

    notes.print()
    for _, own in rows.groupby("norm", sort=False, dropna=False):
        FORMATS["text"].show(runs_table(summarize(own)), Console())
        print()


def print_errors(rows: "pd.DataFrame", out: str, folder: str) -> None:
    """Print how many images failed, and where the rows are; raises `typer.Exit(1)` as `print_failures` does."""
    from raysmooth.pipeline.analysis.failures import failures
    from raysmooth.storage.location import located

    notes.print(f"rows: {located(out) / folder}  (pandas.read_parquet)")
    print_failures(failures(rows))


def print_failures(found: "Sequence[Failures]", stages: Sequence[str] | None = None) -> None:
    """`say_failures`; raises `typer.Exit(1)` if at least half of any run's images failed."""
    say_failures(found, stages)
    if any(one.are_most for one in found):
        raise typer.Exit(1)


def say_failures(found: "Sequence[Failures]", stages: Sequence[str] | None = None) -> None:
    """Print how many images failed, and why, beside the names of `stages`, if there are any."""
    from raysmooth.pipeline.analysis.failures import lines_of

    for most, style, mark in ((False, None, ""), (True, "bold red", "FAILED: ")):
        chosen = [number for number, one in enumerate(found) if one.are_most == most]
        lines = lines_of([found[number] for number in chosen], None if stages is None else [stages[n] for n in chosen])
        for line in lines:
            notes.print(f"raysmooth: {mark}{line}", style=style)


def command_line() -> str:
    """The command that this process carries out, as one would type it, on one line that can be printed."""
    return " ".join(shlex.quote(printable(argument)) for argument in ["raysmooth", *sys.argv[1:]])


def print_written(files: Sequence["Path | Location"]) -> None:
    """Print the files of a report and, on a line of its own, its page."""
    notes.print(f"written: {', '.join(map(str, files))}")
    for file in files:
        if str(file).endswith(PAGE):
            notes.print(f"page, for a browser: {file}")
