"""Bounds on the number of wrong certificates in each run, as a table of a report."""

from fractions import Fraction

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import wrong_certificates_bound
from raysmooth.pipeline.analysis.run_checks import are_certified
from raysmooth.pipeline.report.captions import FEW_WRONG, shown_confidence
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns


def wrong_certificates_table(data: ReportData, intervals: bool = False) -> PrintedTable:
    """One line per run. Raises RaysmoothError where no run records its alpha."""
    runs = data.runs
    if runs["alpha"].isna().all():
        raise RaysmoothError(
            "no run records its alpha: import logs with --alpha to bound the number of wrong certificates"
        )
    alpha, tried = runs["alpha"].astype(float), runs["rows"]
    certificates = [int(are_certified(data.parts[run]).sum()) for run in runs.index]
    values = pd.DataFrame({"images": tried, "alpha": alpha, "certificates": certificates}, runs.index)
    values["wrong_on_average"] = tried * alpha
    values["wrong_at_most"] = pd.array(
        [
            pd.NA if np.isnan(own) else min(known, wrong_certificates_bound(images, own, FEW_WRONG))
            for images, own, known in zip(tried.tolist(), alpha.tolist(), certificates, strict=True)
        ],
        "Int64",
    )
    values["any_wrong"] = -np.expm1(tried * np.log1p(-alpha))
    cells = data.run_cells.copy()
    cells["images"] = values["images"].astype(str)
    cells["certificates"] = values["certificates"].astype(str)
    cells["wrong on average"] = [
        "-" if np.isnan(x) else floored(-x, 2).removeprefix("-") for x in values["wrong_on_average"]
    ]
    cells["wrong at most"] = ["-" if pd.isna(bound) else str(bound) for bound in values["wrong_at_most"]]
    # From the exact complement, as floating point rounds 1 - 1e-30 to 1.
    cells["all right"] = ["-" if np.isnan(x) else floored(100 - 100 * Fraction(x), 1) for x in values["any_wrong"]]
    note = (
        "Worst case over all images of a run, given alpha: the expected number of wrong certificates (wrong on "
        f"average), the number not exceeded with probability at least {shown_confidence(FEW_WRONG)} (wrong at most), "
        "and the least probability, in percent, that none is wrong (all right). Draws of different images are "
        "independent. All rounded to the safe side."
    )
    return PrintedTable(
        "wrong-certificates",
        "Wrong certificates",
        data.caption,
        note,
        cells,
        values.reset_index(),
        text_columns(data.run_cells),
    )
