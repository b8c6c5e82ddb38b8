"""How many images are certified at one radius, each for itself and all at once, as a table of a report."""

from math import isfinite

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.holm import holm
from raysmooth.pipeline.analysis.run_checks import refuse_no_probability
from raysmooth.pipeline.analysis.run_facts import LABELLED
from raysmooth.pipeline.analysis.summary import heading
from raysmooth.pipeline.report.captions import assured
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import words_of

_WAYS = {"alone": "each alone", "bonferroni": "Bonferroni", "holm": "Holm"}
"""The columns of `holm` that are counted, and their headings."""


def holm_table(reported: ReportData, delta: float, radius: float) -> PrintedTable:
    """A line a run; the table's values are its images. A run whose rows do not support it has "-"; raises RaysmoothError where
    none does, and for a delta or radius that is none.
    """
    refuse_no_probability(delta)
    if not (isfinite(radius) and radius >= 0):
        raise RaysmoothError(f"--radius {radius}: write a finite number >= 0, such as 0.5")
    lines, values, reasons = [], [], []
    for run, measure in reported.runs["measure"].items():
        try:
            answers = holm(reported.parts[str(run)], radius, delta)
        except RaysmoothError as refusal:
            reasons.append(refusal)
            lines.append(["-"] * (1 + len(_WAYS)))
            continue
        counts = answers["correct"].eq(True) if measure == LABELLED else pd.Series(True, answers.index)
        lines.append([str(len(answers)), *(str(int((answers[way] & counts).sum())) for way in _WAYS)])
        answers.insert(0, "run_id", str(run))
        values.append(answers)
    if not values:
        raise reasons[0]
    cells = reported.lines.copy()
    cells[["images", *_WAYS.values()]] = lines
    note = (
        f"Images that count as certified at {heading(radius)}. Each alone: each answer "
        f"wrong with probability at most alpha. Bonferroni and Holm: all answers of a run right at once with "
        f"probability at least {assured(delta)}, at this radius chosen beforehand."
    )
    if reasons:
        note += " -: of a run that decides one radius, has linf radii, or does not say its counts."
    return PrintedTable(
        "familywise", "All at once", reported.about, note, cells, pd.concat(values), words_of(reported.lines)
    )
