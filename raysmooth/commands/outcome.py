"""Summary and errors of the rows that a command produced."""

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from raysmooth.commands.app import notes

if TYPE_CHECKING:
    import pandas as pd


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
    """Print how many images failed and where the rows are; raises `typer.Exit(1)` if all images failed."""
    from raysmooth.storage.location import located

    failed = rows[rows["status"] == "error"]
    if len(failed):
        first = failed.iloc[0]
        notes.print(f"{len(failed)} of {len(rows)} images are error rows; image {first.image_id}: {first.error}")
    notes.print(f"rows: {located(out) / folder}  (pandas.read_parquet)")
    if len(failed) == len(rows):
        raise typer.Exit(1)
