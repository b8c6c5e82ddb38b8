"""The distribution of pA, the lower bound of the selected class's probability, as a table of a report."""

from math import isnan

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import COMPLEMENT, REJECTION, RUNNER_UP
from raysmooth.pipeline.analysis.p_lower_distribution import QUANTILES, ceiling, p_lower_quantiles
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns


def p_lower_table(data: ReportData, intervals: bool = False) -> PrintedTable:
    """Quantiles of pA, and the images on which all draws agree with their part of the ACR. Raises RaysmoothError where
    no run records its pA.
    """
    records = []
    for run in data.runs.index:
        own = data.parts[run]
        try:
            quantiles, top = p_lower_quantiles(own), ceiling(own)
        except RaysmoothError:  # decisions, and rows of other tools' logs
            records.append(dict.fromkeys([*QUANTILES, "agreed", "acr_share"], float("nan")))
            continue
        records.append({**quantiles.to_dict(), "agreed": top.share, "acr_share": top.acr_share})
    values = pd.DataFrame(records, data.runs.index)
    if values[list(QUANTILES)].isna().all(axis=None):
        raise RaysmoothError("no pA available: runs with --sampling decide and imported logs do not record it")
    values["ACR"] = data.summary.set_index("run_id")["ACR"]
    cells = data.run_cells.copy()
    for quantile in QUANTILES:
        cells[f"{quantile:.0%}"] = [_floored(p, 4) for p in values[quantile]]
    cells["ACR"] = [_floored(acr, 3) for acr in values["ACR"]]
    for column, name in (("agreed", "all draws agree"), ("acr_share", "their ACR")):
        cells[name] = ["-" if isnan(share) else floored(100 * share, 1) for share in values[column]]
    abstains = {
        COMPLEMENT: "CERTIFY abstains where it is at most 0.5",
        RUNNER_UP: "CERTIFY abstains where it does not exceed the runner-up's upper bound",
        REJECTION: "CERTIFY abstains where it does not exceed the upper bound of all other classes together",
    }
    how = [f"with the {bound} bound, {words}" for bound, words in abstains.items() if bound in set(data.runs["bound"])]
    if len(how) == 1:
        how = [abstains[data.runs["bound"].iloc[0]]]
    note = (
        f"Quantiles, over all images, of pA, the lower bound of the selected class's probability: {'; '.join(how)}. "
        "Where all draws agree, only more draws could raise pA: the share of such images, and their part of the ACR, "
        "in percent. All rounded down."
    )
    values.columns = values.columns.map(lambda name: f"pA {name:.0%}" if isinstance(name, float) else name)
    return PrintedTable(
        "p-lower", "Distribution of pA", data.caption, note, cells, values.reset_index(), text_columns(data.run_cells)
    )


def _floored(x: float, digits: int) -> str:
    return "-" if isnan(x) else floored(x, digits)
