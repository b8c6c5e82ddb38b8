"""Certified accuracy against the number of steps K of a search, as a table of a report."""

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.sigmas.rules import without_steps
from raysmooth.pipeline.analysis.sigmas.steps import step_series
from raysmooth.pipeline.analysis.summary import ENDS, radius_columns
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.sigma_words import short_rules
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE, acr_cells, intervals_of, percents, text_columns


def steps_table(data: ReportData, intervals: bool) -> PrintedTable:
    """One line for each run of a series whose runs differ in K only, the run with one sigma for all first. Raises
    RaysmoothError where there is no such series.
    """
    series = found_series(data)
    summary = data.summary.set_index("run_id")
    lines = [(steps, run) for one in series for steps, run in one.items()]
    ids = [run for _, run in lines]
    cells = data.run_cells.loc[ids].reset_index(drop=True)
    rules = short_rules(
        data.runs.loc[[list(one.values())[-1] for one in series]].assign(
            sigma_rule=lambda runs: runs["sigma_rule"].map(without_steps)
        )
    )
    cells["sigma_rule"] = [rule for rule, one in zip(rules, series, strict=True) for _ in one]
    if not varies(cells["sigma_rule"]):
        cells = cells.drop(columns="sigma_rule")
    cells["K"] = [str(steps) for steps, _ in lines]
    own = summary.loc[ids]
    for column in radius_columns(own):
        cells[column] = percents(own, column)
        if intervals and column + ENDS[1] in own:
            cells[f"{column} 95 %"] = intervals_of(own, column)
    cells["ACR"] = acr_cells(own)
    zero = " K=0 is the run with one sigma for all images." if any(steps == 0 for steps, _ in lines) else ""
    note = (
        "K is the number of steps of the search; percentages and ACR are rounded down. Choosing K by these numbers is "
        f"choosing by the result: a certificate needs a K that was chosen in advance.{zero}"
    )
    values = own.reset_index()
    values.insert(1, "steps", [steps for steps, _ in lines])
    return PrintedTable(
        "steps",
        "Steps of the search",
        data.caption,
        note,
        cells,
        values,
        text_columns(cells) - {"K"},
        intervals_note=INTERVALS_NOTE if intervals else "",
        what="Certified accuracy at radius r, in percent",
    )


def found_series(data: ReportData) -> list[dict[int, str]]:
    """Those of the report's runs. Raises RaysmoothError where there is none."""
    series = step_series(data.runs, data.parts)
    if not series:
        raise RaysmoothError(
            "no runs differ in the steps of their search alone: certify with --sigmas RUN --steps 100, and again with "
            "other steps of the same search"
        )
    return series
