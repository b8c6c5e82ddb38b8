"""Certified accuracy class by class, as a table of a report."""

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import share_intervals
from raysmooth.pipeline.analysis.metrics import asked_radius
from raysmooth.pipeline.analysis.per_class import count_per_class
from raysmooth.pipeline.analysis.run_facts import LABELLED
from raysmooth.pipeline.analysis.summary import ENDS, heading, radius_columns
from raysmooth.pipeline.report.report_data import DELTA, ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import HOW_SURE, intervals_of, percents, words_of


def classes_table(reported: ReportData, intervals: bool, most: int | None = None) -> PrintedTable:
    """A line for each class of each run; of more than `most` lines in all only those of the classes that are least
    certified at the second radius, as many of each run. Raises RaysmoothError where no run has labels.
    """
    radii = list(radius_columns(reported.summary.columns).values())
    labelled = reported.runs.index[reported.runs["measure"] == LABELLED]
    if labelled.empty:
        raise RaysmoothError("no run has labels, hence none has classes: certify a data set that has them")
    columns, kept, at = [heading(radius) for radius in radii], None, min(1, len(radii) - 1)
    counted = {run: count_per_class(reported.parts[run], radii) for run in labelled}
    note = "Certified accuracy of each class's images, in percent, rounded down."
    if most is not None and (lines := sum(len(labels) for labels, _, _ in counted.values())) > most:
        kept = max(1, most // len(counted))
        note += f" Of {lines:,} lines those of each run's {kept} classes that are least certified at {columns[at]}."
    parts = []
    for run, (of_run, images, certified) in counted.items():
        known = np.array(radii) <= asked_radius(reported.parts[run])
        shares = np.where(known, certified / images[:, None], np.nan)
        shown = np.sort(np.argsort(shares[:, at], kind="stable")[:kept])
        parts.append((np.full(len(shown), run, object), of_run.astype(object)[shown], images[shown], shares[shown]))
    run_ids, labels, images, shares = (np.concatenate(column) for column in zip(*parts, strict=True))
    alpha = reported.runs["alpha"].astype(float).loc[run_ids].to_numpy()
    ends = share_intervals(shares, images[:, None], alpha[:, None], DELTA)
    values = pd.DataFrame({"run_id": run_ids, "label": pd.array(labels, "Int64"), "rows": images})
    cells = reported.lines.loc[run_ids].reset_index(drop=True)
    cells["class"] = ["unknown" if pd.isna(label) else str(label) for label in labels]
    cells["images"] = values["rows"].astype(str)
    for place, column in enumerate(columns):
        for end, of_all in zip(ENDS, (shares, *ends), strict=True):
            values[column + end] = of_all[:, place]
        cells[column] = percents(values, column)
        if intervals:
            cells[f"{column} 95 %"] = intervals_of(values, column)
    sure = HOW_SURE if intervals else ""
    return PrintedTable("classes", "Classes", reported.about, note, cells, values, words_of(reported.lines), sure=sure)
