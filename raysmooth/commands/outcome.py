"""What every command says of the rows that it made."""

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from raysmooth.commands.app import notes

if TYPE_CHECKING:
    import pandas as pd


def print_summary(rows: "pd.DataFrame") -> None:
    """A table of the runs for each norm that they have: radii of different norms have no columns in common."""
    from raysmooth.pipeline.analysis.summary import summarize
    from raysmooth.pipeline.report.tables.formats import FORMATS
    from raysmooth.pipeline.report.tables.runs import runs_table

    notes.print()
    for _, own in rows.groupby("norm", sort=False, dropna=False):
        FORMATS["text"].show(runs_table(summarize(own)), Console())
        print()


def print_errors(rows: "pd.DataFrame", out: str, folder: str) -> None:
    """Say how many images failed, and where all rows are; end with code 1 if all failed."""
    from raysmooth.storage.location import located

    failed = rows[rows["status"] == "error"]
    if len(failed):
        first = failed.iloc[0]
        notes.print(f"{len(failed)} of {len(rows)} images are error rows; image {first.image_id}: {first.error}")
    notes.print(f"rows: {located(out) / folder}  (pandas.read_parquet)")
    if len(failed) == len(rows):
        raise typer.Exit(1)
