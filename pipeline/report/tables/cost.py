"""Draws, seconds and price of each run, as a table of a report."""

from math import isnan

from raysmooth.pipeline.analysis.costs import costs
from raysmooth.pipeline.analysis.sigmas.distribution import has_image_sigmas
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns


def cost_table(data: ReportData, intervals: bool = False) -> PrintedTable:
    """Draws and seconds of each run and, given `price_per_hour`, its price."""
    values = costs(data.rows).loc[data.runs.index]
    price = data.price_per_hour
    if price is not None:
        values["price"] = values["seconds"] / 3600 * price
        values["price_per_1000"] = values["seconds_per_1000"] / 3600 * price
    cells = data.run_cells.copy()
    cells["images"] = values["images"].astype(str)
    cells["draws"] = [_ceiled(draws) for draws in values["draws"]]
    cells["draws/image"] = [_ceiled(draws) for draws in values["draws_per_image"]]
    cells["s/image"] = [_ceiled(seconds, 3) for seconds in values["seconds_per_image"]]
    cells["hours"] = [_ceiled(seconds / 3600, 2) for seconds in values["seconds"]]
    if price is not None:
        cells["price"] = [_ceiled(money, 2) for money in values["price"]]
        cells["price/1000"] = [_ceiled(money, 2) for money in values["price_per_1000"]]
    note = "Seconds and hours are the time replicas spent drawing, summed over replicas; all rounded up."
    if has_image_sigmas(data.rows):
        note += " The search of image sigmas is not part of them."
    if price is not None:
        note += f" Price: {price:g} per hour of one replica."
    return PrintedTable("cost", "Cost", data.caption, note, cells, values.reset_index(), text_columns(data.run_cells))


def _ceiled(x: float, digits: int = 0) -> str:
    """`x` rounded up, with commas between thousands."""
    if isnan(x):
        return "-"
    whole, _, rest = floored(-x, digits).removeprefix("-").partition(".")
    return f"{int(whole):,}" + (f".{rest}" if digits else "")
