"""Rates of rejected draws by class and by outcome, as a table of a report."""

from fractions import Fraction

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.per_class import names_of_classes
from raysmooth.pipeline.analysis.rejection import OUTCOMES, has_rejector, rejection_by_class
from raysmooth.pipeline.report.api_words import set_aside
from raysmooth.pipeline.report.class_names import IN_CELLS, named
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns

_HEADINGS = {"correct": "correct", "wrong": "wrong", "unlabelled": "class unchecked", "abstained": "abstained"}
"""Of OUTCOMES."""


def rejection_table(data: ReportData, intervals: bool = False, most: int | None = None) -> PrintedTable:
    """One line for all images of each run with a rejector, and one for each class. If these are more than `most` lines,
    only the classes of which most is rejected, the same number for each run. Raises RaysmoothError where no run has a
    rejector.
    """
    rejecting = [run for run in data.runs.index if has_rejector(data.parts[run])]
    if not rejecting:
        raise RaysmoothError(
            "no run has a rejector, and a number of draws that does not depend on it: certify with --rejector "
            "confidence:threshold=0.6, for example, and --sampling fixed"
        )
    counted = {run: rejection_by_class(data.parts[run]) for run in rejecting}
    aside = set_aside(data.runs.loc[rejecting])
    note = (
        f"Share of estimation draws that are {aside}, in percent, rounded down; in parentheses the number of images. "
        "An image is correct or wrong by its certified class; abstentions are not certified, failed images are left "
        "out."
    )
    if most is not None and (lines := sum(map(len, counted.values()))) > most:
        kept = max(1, most // len(counted) - 1)
        counted = {run: _most_rejected(own, kept) for run, own in counted.items()}
        note += f" Of {lines:,} lines, only each run's {kept} classes with the most {aside} draws are shown."
    values = pd.concat([own.assign(run_id=run) for run, own in counted.items()], ignore_index=True)
    cells = data.run_cells.loc[values["run_id"]].reset_index(drop=True)
    names = {run: names_of_classes(data.parts[run]) for run in counted}
    values["label_name"] = [
        None if pd.isna(label) else names[run].get(label)
        for run, label in zip(values["run_id"], values["label"], strict=True)
    ]
    cells["class"] = [
        "all" if whole else "unknown" if pd.isna(label) else named(label, names[run], IN_CELLS)
        for run, whole, label in zip(values["run_id"], values["all"], values["label"], strict=True)
    ]
    cells["all images"] = _cells(values, "")
    for outcome in OUTCOMES:
        if values[f"images {outcome}"].any():
            cells[_HEADINGS[outcome]] = _cells(values, f" {outcome}")
    first = ["run_id", "label", "label_name", "all"]
    values = values[[*first, *values.columns.drop(first)]]
    words = text_columns(data.run_cells) | {"class"}
    return PrintedTable("rejection", f"{aside.capitalize()} draws", data.caption, note, cells, values, words)


def _most_rejected(counts: pd.DataFrame, kept: int) -> pd.DataFrame:
    """The line of all images, and the `kept` classes with the largest share of rejected draws, in their order."""
    rates = (counts["rejected"] / counts["draws"]).where(~counts["all"])
    return counts[counts["all"] | (rates.rank(method="first", ascending=False) <= kept)]


def _cells(values: pd.DataFrame, outcome: str) -> list[str]:
    """Such as 12.5 (40); "-" without images."""
    columns = (values[f"{name}{outcome}"] for name in ("rejected", "draws", "images"))
    return [
        f"{floored(Fraction(100 * rejected, draws), 1)} ({images:,})" if draws else "-"
        for rejected, draws, images in zip(*(column.tolist() for column in columns), strict=True)
    ]
