"""The number of images certified at one radius, each on its own and all at once, as a table of a report."""

from math import isfinite

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.holm import holm
from raysmooth.pipeline.analysis.run_checks import refuse_no_probability
from raysmooth.pipeline.analysis.run_facts import UNLABELLED
from raysmooth.pipeline.analysis.summary import heading
from raysmooth.pipeline.report.captions import shown_confidence
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns

_HEADINGS = {"alone": "each alone", "bonferroni": "Bonferroni", "holm": "Holm"}
"""Columns of `holm` that the table counts, and their headings."""


def holm_table(data: ReportData, delta: float, radius: float) -> PrintedTable:
    """One line per run; the table's values are its images. A run whose rows do not support Holm's procedure has "-".
    Raises RaysmoothError where none supports it, for a delta outside (0, 1) and for a negative or infinite radius.
    """
    refuse_no_probability(delta)
    if not (isfinite(radius) and radius >= 0):
        raise RaysmoothError(f"--radius {radius}: write a finite number >= 0, such as 0.5")
    lines, values, reasons = [], [], []
    for run, quantity in data.runs["quantity"].items():
        try:
            answers = holm(data.parts[str(run)], radius, delta)
        except RaysmoothError as refusal:
            reasons.append(refusal)
            lines.append(["-"] * (1 + len(_HEADINGS)))
            continue
        counts = answers["correct"].eq(True) if quantity != UNLABELLED else pd.Series(True, answers.index)
        lines.append([str(len(answers)), *(str(int((answers[column] & counts).sum())) for column in _HEADINGS)])
        answers.insert(0, "run_id", str(run))
        values.append(answers)
    if not values:
        raise reasons[0]
    cells = data.run_cells.copy()
    cells[["images", *_HEADINGS.values()]] = lines
    note = (
        f"Images that count as certified at {heading(radius)}. Each alone: each answer is wrong with probability at "
        "most alpha. Bonferroni and Holm: all answers of a run are right at once with probability at least "
        f"{shown_confidence(delta)}, at this one radius, chosen in advance."
    )
    if reasons:
        note += (
            " -: the run decides one radius, has linf radii, does not record its counts, or certifies the sigma of "
            "each image too."
        )
    return PrintedTable(
        "familywise", "All at once", data.caption, note, cells, pd.concat(values), text_columns(data.run_cells)
    )
