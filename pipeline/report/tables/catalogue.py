"""The tables of a report beyond that of its runs: what the papers show, and what an average hides."""

from collections.abc import Callable
from math import isnan

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.pipeline.analysis.costs import costs
from raysmooth.pipeline.analysis.metrics import COMPLEMENT, RUNNER_UP, floored
from raysmooth.pipeline.analysis.p_lower_distribution import QUANTILES, ceiling, p_lower_quantiles
from raysmooth.pipeline.analysis.summary import radius_columns
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.envelope import envelope_table
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import decided_radii, percents, runs_table, sigma_table, words_of
from raysmooth.pipeline.report.tables.wrong_certificates import wrong_certificates_table


def radii_table(reported: ReportData, intervals: bool = False) -> PrintedTable:
    """How many images reach how far: shares between one radius and the next, and where the rest went."""
    summary = reported.from_zero.set_index("run_id")
    if summary["ACR"].isna().all() and summary["abstain"].isna().all():
        raise RaysmoothError(
            "all these runs decide one radius, and know nothing of others: there is no distribution of radii"
        )
    radii = list(radius_columns(summary.columns))
    shares = summary[["rows", "errors"]].copy()
    asked = decided_radii(summary)
    for column, radius in radius_columns(summary.columns).items():  # elsewhere a decision knows a lower bound at most
        summary[column] = summary[column].where(asked.isna() | (asked == radius))
    for column, after in zip(radii, [*radii[1:], None], strict=True):
        name = f"{column[2:]} to {after[2:]}" if after else f"{column[2:]} or more"
        shares[name] = summary[column] - (summary[after] if after else 0.0)
    between = list(shares.columns[2:])
    shares["abstain"] = summary["abstain"]
    shares["failed"] = summary["errors"] / summary["rows"]
    shares["wrong"] = 1 - summary[radii[0]] - shares["abstain"] - shares["failed"]
    cells = reported.lines.copy()
    for column in [*between, "wrong", "abstain", "failed"]:
        if column != "failed" or summary["errors"].any():
            cells[column] = percents(shares, column)
    note = (
        "Share of images in percent, rounded down, by certified radius (the left end belongs to each): those "
        "certified, of the right class as far as there are labels; a wrong class, whatever its radius; abstentions."
    )
    values = shares.drop(columns="errors").reset_index()
    return PrintedTable("radii", "Certified radii", reported.about, note, cells, values, words_of(reported.lines))


def p_lower_table(reported: ReportData, intervals: bool = False) -> PrintedTable:
    """Quantiles of pA, and how much of the ACR is of images on which all draws agreed."""
    records = []
    for run in reported.runs.index:
        own = reported.parts[run]
        try:
            quantiles, top = p_lower_quantiles(own), ceiling(own)
        except RaysmoothError:  # decisions, and rows of other tools' logs
            records.append(dict.fromkeys([*QUANTILES, "agreed", "acr_share"], float("nan")))
            continue
        records.append({**quantiles.to_dict(), "agreed": top.share, "acr_share": top.acr_share})
    values = pd.DataFrame(records, reported.runs.index)
    if values[list(QUANTILES)].isna().all(axis=None):
        raise RaysmoothError("no run says its pA: those that decide one radius do not, nor do logs of other tools")
    values["ACR"] = reported.summary.set_index("run_id")["ACR"]
    cells = reported.lines.copy()
    for quantile in QUANTILES:
        cells[f"{quantile:.0%}"] = [_floored(p, 4) for p in values[quantile]]
    cells["ACR"] = [_floored(acr, 3) for acr in values["ACR"]]
    for column, name in (("agreed", "all draws agree"), ("acr_share", "their ACR")):
        cells[name] = ["-" if isnan(share) else floored(100 * share, 1) for share in values[column]]
    abstains = {
        COMPLEMENT: "at 0.5 and below it abstains",
        RUNNER_UP: "where it is not above the runner-up's it abstains",
    }
    how = [
        f"with the {bound} bound {words}" for bound, words in abstains.items() if bound in set(reported.runs["bound"])
    ]
    if len(how) == 1:
        how = [abstains[reported.runs["bound"].iloc[0]]]
    note = (
        f"Quantiles, over all images, of pA, the lower bound of the selected class's probability: {', '.join(how)}. "
        "Where all draws agree only more of them could raise it: how many images that is, and their part of the ACR, "
        "in percent. All rounded down."
    )
    values.columns = values.columns.map(lambda name: f"pA {name:.0%}" if isinstance(name, float) else name)
    return PrintedTable(
        "pa", "Distribution of pA", reported.about, note, cells, values.reset_index(), words_of(reported.lines)
    )


def cost_table(reported: ReportData, intervals: bool = False) -> PrintedTable:
    """Draws and seconds of each run and, where an hour has a price, what it came to."""
    values = costs(reported.rows).loc[reported.runs.index]
    price = reported.price_per_hour
    if price is not None:
        values["price"] = values["seconds"] / 3600 * price
        values["price_per_1000"] = values["seconds_per_1000"] / 3600 * price
    cells = reported.lines.copy()
    cells["images"] = values["images"].astype(str)
    cells["draws"] = [_ceiled(draws) for draws in values["draws"]]
    cells["draws/image"] = [_ceiled(draws) for draws in values["draws_per_image"]]
    cells["s/image"] = [_ceiled(seconds, 3) for seconds in values["seconds_per_image"]]
    cells["hours"] = [_ceiled(seconds / 3600, 2) for seconds in values["seconds"]]
    if price is not None:
        cells["price"] = [_ceiled(money, 2) for money in values["price"]]
        cells["price/1000"] = [_ceiled(money, 2) for money in values["price_per_1000"]]
    note = "Seconds and hours are those that replicas spent drawing, added up; all rounded up."
    if price is not None:
        note += f" Price: {price:g} an hour of a replica."
    return PrintedTable("cost", "Cost", reported.about, note, cells, values.reset_index(), words_of(reported.lines))


def _floored(x: float, digits: int) -> str:
    return "-" if isnan(x) else floored(x, digits)


def _ceiled(x: float, digits: int = 0) -> str:
    """`x` rounded up, with commas between thousands."""
    if isnan(x):
        return "-"
    whole, _, rest = floored(-x, digits).removeprefix("-").partition(".")
    return f"{int(whole):,}" + (f".{rest}" if digits else "")


TABLES: Registry[Callable[[ReportData, bool], PrintedTable]] = Registry(
    "table",
    {
        "runs": lambda reported, intervals: runs_table(reported.summary if intervals else reported.plain_summary),
        "envelope": envelope_table,
        "sigma": lambda reported, intervals: sigma_table(reported.summary if intervals else reported.plain_summary),
        "radii": radii_table,
        "pa": p_lower_table,
        "classes": classes_table,
        "cost": cost_table,
        "sure": wrong_certificates_table,
    },
)
"""What a report can show: of what was read, and whether certified accuracies have their intervals beside them."""
