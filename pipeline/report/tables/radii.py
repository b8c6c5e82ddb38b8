"""The distribution of certified radii, as a table of a report."""

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.summary import radius_columns
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import decided_radii, percents, text_columns


def radii_table(data: ReportData, intervals: bool = False) -> PrintedTable:
    """The share of images whose certified radius lies between one radius and the next, and the shares certified for a
    wrong class, abstained and failed. Raises RaysmoothError if all runs decide one radius.
    """
    summary = data.from_zero.set_index("run_id")
    if summary["ACR"].isna().all() and summary["abstain"].isna().all():
        raise RaysmoothError("all these runs decide one radius: the distribution of their radii is unknown")
    radii = list(radius_columns(summary.columns))
    shares = summary[["rows", "errors"]].copy()
    decided = decided_radii(summary)
    for column, radius in radius_columns(summary.columns).items():  # elsewhere a decision gives only a lower bound
        summary[column] = summary[column].where(decided.isna() | (decided == radius))
    for column, after in zip(radii, [*radii[1:], None], strict=True):
        name = f"{column[2:]} to {after[2:]}" if after else f"{column[2:]} or more"
        shares[name] = summary[column] - (summary[after] if after else 0.0)
    between = list(shares.columns[2:])
    shares["abstain"] = summary["abstain"]
    shares["failed"] = summary["errors"] / summary["rows"]
    shares["wrong"] = 1 - summary[radii[0]] - shares["abstain"] - shares["failed"]
    cells = data.run_cells.copy()
    for column in [*between, "wrong", "abstain", "failed"]:
        if column != "failed" or summary["errors"].any():
            cells[column] = percents(shares, column)
    note = (
        "Share of images in percent, rounded down, by certified radius (each range includes its left end): images "
        "certified for the right class, or for any class where there are no labels; then images certified for a wrong "
        "class, at any radius; then abstentions."
    )
    values = shares.drop(columns="errors").reset_index()
    return PrintedTable("radii", "Certified radii", data.caption, note, cells, values, text_columns(data.run_cells))
