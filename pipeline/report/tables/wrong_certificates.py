"""How many certificates of each run may be wrong, as a table of a report."""

from fractions import Fraction

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import wrong_certificates_bound
from raysmooth.pipeline.analysis.metrics import floored
from raysmooth.pipeline.analysis.run_checks import are_certified
from raysmooth.pipeline.report.captions import FEW_WRONG, assured
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import words_of


def wrong_certificates_table(reported: ReportData, intervals: bool = False) -> PrintedTable:
    """A line a run. Raises RaysmoothError where no run says its alpha."""
    runs = reported.runs
    if runs["alpha"].isna().all():
        raise RaysmoothError(
            "no run says its alpha: import logs with --alpha to tell how many certificates may be wrong"
        )
    alpha, tried = runs["alpha"].astype(float), runs["rows"]
    certificates = [int(are_certified(reported.parts[run]).sum()) for run in runs.index]
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
    cells = reported.lines.copy()
    cells["images"] = values["images"].astype(str)
    cells["certificates"] = values["certificates"].astype(str)
    cells["wrong on average"] = [
        "-" if np.isnan(x) else floored(-x, 2).removeprefix("-") for x in values["wrong_on_average"]
    ]
    cells["wrong at most"] = ["-" if pd.isna(bound) else str(bound) for bound in values["wrong_at_most"]]
    # Of the exact complement: 1 - 1e-30 is no certainty.
    cells["all right"] = ["-" if np.isnan(x) else floored(100 - 100 * Fraction(x), 1) for x in values["any_wrong"]]
    note = (
        "What alpha means for all images of a run together, in the worst case: so many of its certificates are wrong "
        f"on average, so many at most with probability at least {assured(FEW_WRONG)}, and none with at least so much "
        "(all right, in percent); draws of one image are independent of those of another. Rounded to the safe side."
    )
    return PrintedTable(
        "sure", "Wrong certificates", reported.about, note, cells, values.reset_index(), words_of(reported.lines)
    )
