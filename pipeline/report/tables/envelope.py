"""The envelope over noise levels, in the papers' layout."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.pipeline.analysis.envelope import envelope
from raysmooth.pipeline.analysis.run_facts import LABELLED, varies
from raysmooth.pipeline.analysis.summary import heading, radius_columns
from raysmooth.pipeline.report.captions import caption, short_denoisers, short_rejectors
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import percent
from raysmooth.pipeline.report.sigma_words import short_rules
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import INTERVALS_NOTE, best_of, interval, text_columns


def envelope_table(data: ReportData, intervals: bool) -> PrintedTable:
    """The papers' layout: each cell has the best share at a radius and, in parentheses, the share of the same run at
    radius 0, both in percent. r=0 has a column only if it is the only radius.
    """
    summary, by = data.from_zero, data.group_by
    best = envelope(summary, by)
    by = list(best.columns[: best.columns.get_loc("radius")])
    radii = [radius for radius in radius_columns(data.summary.columns).values() if radius > 0] or [0.0]
    cells = _lines(best[best["radius"] == radii[0]].reset_index(drop=True), by, summary)
    bold = pd.DataFrame(index=cells.index)
    for radius in radii:
        own = best[best["radius"] == radius].reset_index(drop=True)
        cells[heading(radius)] = [_cell(line) for line in own.to_dict("records")]
        bold[heading(radius)] = _bold(own, summary, radius)
        if intervals:
            cells[f"{heading(radius)} 95 %"] = [interval(*ends) for ends in own[["low", "high"]].to_numpy()]
    shown = best[best["radius"].isin(radii)]
    about = caption(data.runs, without={"sigma", *by})
    groups = [own for _, own in summary.groupby(by, dropna=False)] if by else [summary]
    sentences = [
        f"Best of {_choices(data, groups)} at each radius, in percent, rounded down; in parentheses the "
        f"{_at_zero(data)} at r=0 of the run that is best at this radius.",
    ]
    if any(len(own) > 1 for own in groups):
        sentences.append(
            "The best run at each radius is chosen by its result: a line is no certificate of one classifier."
        )
    intervals_note = (
        f"{INTERVALS_NOTE} In this table the intervals of all runs of a line hold at once, so the best run's holds "
        "too, although it was chosen by its result."
    )
    if (shown["rows"] < shown["images"]).any():
        sentences.append("*: the run is unfinished.")
    if any(varies(own["index_set"]) for own in groups):
        sentences.append("Not all runs of a line are on the same images.")
    return PrintedTable(
        "envelope",
        "Envelope",
        about,
        " ".join(sentences),
        cells,
        shown,
        text_columns(by),
        bold,
        intervals_note if intervals else "",
    )


def _at_zero(data: ReportData) -> str:
    """What the share of a run at radius 0 is."""
    return "accuracy" if (data.runs["quantity"] == LABELLED).all() else "share"


def _choices(data: ReportData, groups: Sequence[pd.DataFrame]) -> str:
    """Among which noise levels the best is, and among which rules for those of images, if a line has several."""
    levels = [*map(str, sorted(data.runs["sigma"].dropna().unique()))]
    rules = short_rules(data.runs)
    mixed = [rule for own in groups if varies(own["sigma_rule"]) for rule in rules[own["run_id"]]]
    also = f", and of {', '.join(dict.fromkeys(mixed))}," if mixed else ""
    return f"sigma {', '.join(levels)}{also}" if levels else "several sigmas"


def _lines(first: pd.DataFrame, by: list[str], summary: pd.DataFrame) -> pd.DataFrame:
    """The first cells of each line, as text."""
    cells = first[by].astype(object).where(first[by].notna(), "unknown").astype(str)
    shorten = {"denoiser": short_denoisers, "rejector": short_rejectors, "sigma_rule": short_rules}
    for column, short in shorten.items():
        if column in cells:
            shorter = dict(zip(summary[column], short(summary), strict=True))
            cells[column] = [shorter.get(value, value) for value in cells[column]]
    return cells if by else pd.DataFrame({"runs": [str(len(summary))]})


def _bold(best: pd.DataFrame, summary: pd.DataFrame, radius: float) -> pd.Series:
    """Which lines of the envelope `best` at one radius are the best of several; bool, by the rule of `best_of`."""
    known = best[best["share"].notna()]
    winners = summary.set_index("run_id").loc[known["run_id"]].set_index(known.index)
    others = [column for column in radius_columns(summary.columns) if column != heading(radius)]
    return best_of(winners.drop(columns=others))[heading(radius)].reindex(best.index, fill_value=False)


def _cell(line: dict[Any, Any]) -> str:
    """Such as 42.8 (74.8); "?" where the run's share at radius 0 is unknown."""
    if np.isnan(line["share"]):
        return "-"
    images = int(line["rows"])
    at_zero = "?" if np.isnan(line["at_zero"]) else percent(line["at_zero"], images)
    return f"{percent(line['share'], images)} ({at_zero}){'*' if images < line['images'] else ''}"
