"""Certified accuracy class by class, as a table of a report."""

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import share_intervals
from raysmooth.pipeline.analysis.metrics import asked_radius
from raysmooth.pipeline.analysis.per_class import count_per_class, names_of_classes
from raysmooth.pipeline.analysis.run_facts import UNLABELLED
from raysmooth.pipeline.analysis.summary import ENDS, heading, radius_columns
from raysmooth.pipeline.report.api_words import judged_shares
from raysmooth.pipeline.report.class_names import IN_CELLS, named, names_of_run
from raysmooth.pipeline.report.report_data import DELTA, ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE, intervals_of, percents, text_columns


def classes_table(data: ReportData, intervals: bool, most: int | None = None) -> PrintedTable:
    """One line per class and run. If these are more than `most` lines, only the classes least certified at the second
    radius, the same number for each run. Raises RaysmoothError where no run has labels.
    """
    radii = list(radius_columns(data.summary.columns).values())
    labelled = data.runs.index[data.runs["quantity"] != UNLABELLED]
    if labelled.empty:
        raise RaysmoothError("no run has labels, which define the classes: certify a data set with labels")
    columns, kept, at = [heading(radius) for radius in radii], None, min(1, len(radii) - 1)
    counted = {run: count_per_class(data.parts[run], radii) for run in labelled}
    note = f"{judged_shares(data.runs.loc[labelled])} of each class's images, in percent, rounded down."
    if most is not None and (lines := sum(len(labels) for labels, _, _ in counted.values())) > most:
        kept = max(1, most // len(counted))
        note += f" Of {lines:,} lines, only each run's {kept} classes least certified at {columns[at]} are shown."
    parts = []
    for run, (of_run, images, certified) in counted.items():
        known = np.array(radii) <= asked_radius(data.parts[run])
        shares = np.where(known, certified / images[:, None], np.nan)
        shown = np.sort(np.argsort(shares[:, at], kind="stable")[:kept])
        parts.append((np.full(len(shown), run, object), of_run.astype(object)[shown], images[shown], shares[shown]))
    run_ids, labels, images, shares = (np.concatenate(column) for column in zip(*parts, strict=True))
    alpha = data.runs["alpha"].astype(float).loc[run_ids].to_numpy()
    ends = share_intervals(shares, images[:, None], alpha[:, None], DELTA)
    values = pd.DataFrame({"run_id": run_ids, "label": pd.array(labels, "Int64"), "rows": images})
    cells = data.run_cells.loc[run_ids].reset_index(drop=True)
    names = {run: names_of_run(names_of_classes(data.parts[run]), data.runs["rejector"].loc[run]) for run in counted}
    values["label_name"] = [names[run].get(label) for run, label in zip(run_ids, labels, strict=True)]
    cells["class"] = [
        "unknown" if pd.isna(label) else named(label, names[run], IN_CELLS)
        for run, label in zip(run_ids, labels, strict=True)
    ]
    cells["images"] = values["rows"].astype(str)
    for place, column in enumerate(columns):
        for end, of_all in zip(ENDS, (shares, *ends), strict=True):
            values[column + end] = of_all[:, place]
        cells[column] = percents(values, column)
        if intervals:
            cells[f"{column} 95 %"] = intervals_of(values, column)
    columns_of_text, intervals_note = text_columns(data.run_cells), INTERVALS_NOTE if intervals else ""
    if any(names.values()):
        columns_of_text |= {"class"}
    return PrintedTable(
        "classes", "Classes", data.caption, note, cells, values, columns_of_text, intervals_note=intervals_note
    )
