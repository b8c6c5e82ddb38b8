"""Certified top-k accuracy, as a table of a report."""

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import share_intervals
from raysmooth.pipeline.analysis.run_facts import UNLABELLED
from raysmooth.pipeline.analysis.summary import ENDS, heading, radius_columns
from raysmooth.pipeline.analysis.top_k import certified_top_k, k_of
from raysmooth.pipeline.report.report_data import DELTA, ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE, intervals_of, percents, text_columns


def top_k_table(data: ReportData, intervals: bool) -> PrintedTable:
    """One line per run with top-k certificates. Raises RaysmoothError if no run has them."""
    k = {run: found for run, rows in data.parts.items() if (found := k_of(rows)) is not None}
    if not k:
        raise RaysmoothError(
            "no run has top-k certificates: write 'raysmooth recertify RESULTS --top-k 5', which makes them from counts"
        )
    radii = list(radius_columns(data.summary.columns).values())
    runs = data.runs.loc[[run for run in data.runs.index if run in k]]
    shares = np.stack([certified_top_k(data.parts[run], radii) for run in runs.index])
    images = np.array([len(data.parts[run]) for run in runs.index])
    ends = share_intervals(shares, images[:, None], runs["alpha"].astype(float).to_numpy()[:, None], DELTA)
    values = pd.DataFrame({"run_id": runs.index, "top_k": [k[run] for run in runs.index], "rows": images})
    cells = data.run_cells.loc[runs.index].reset_index(drop=True)
    cells["k"] = values["top_k"].astype(str)
    for place, column in enumerate(heading(radius) for radius in radii):
        for end, of_all in zip(ENDS, (shares, *ends), strict=True):
            values[column + end] = of_all[:, place]
        cells[column] = percents(values, column)
        if intervals:
            cells[f"{column} 95 %"] = intervals_of(values, column)
    note = (
        "Share of images, in percent, rounded down, whose label stays among the k most likely classes within the radius"
    )
    if (runs["quantity"] == UNLABELLED).any():
        note += " (without labels: whose selected class does, unchecked)"
    note += (
        ". Each of these statements holds with the probability of a certificate by itself: they share the draws of the "
        "certificates, and no alpha."
    )
    return PrintedTable(
        "top-k",
        "Top-k certificates",
        data.caption,
        note,
        cells,
        values,
        text_columns(data.run_cells),
        intervals_note=INTERVALS_NOTE if intervals else "",
    )
