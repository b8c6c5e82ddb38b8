"""A summary of runs as a table: its cells and its caption, whatever the format."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.pipeline.analysis.metrics import FIXED, decided_at, floored, percent
from raysmooth.pipeline.analysis.run_facts import differing, is_imported, origins, varies
from raysmooth.pipeline.analysis.run_selection import refuse_mixed_norms
from raysmooth.pipeline.analysis.summary import ENDS, radius_columns
from raysmooth.pipeline.report.captions import caption, short_denoisers, short_samplings, shown_alpha, twins
from raysmooth.pipeline.report.tables import formats
from raysmooth.pipeline.report.tables.formats import PrintedTable


def runs_table(summary: pd.DataFrame) -> PrintedTable:
    """What `summarize` returned, a row a run, numbers rounded down: "-" is unknown, and "a to b" an interval, rounded
    outwards. At each radius the best is bold, as `best_of` has it. Raises RaysmoothError for runs of several norms.
    """
    refuse_mixed_norms(summary)
    cells = _printed(summary)
    return PrintedTable(
        "table",
        "Runs",
        _about(summary),
        _note(summary),
        cells,
        summary,
        words_of(cells),
        best_of(summary),
        _sure(summary),
    )


def sigma_table(summary: pd.DataFrame) -> PrintedTable:
    """The same noise level by noise level; the best at a radius are those of a level."""
    refuse_mixed_norms(summary)
    summary = summary.sort_values("sigma", kind="stable", ignore_index=True)
    cells = _printed(summary)
    cells = cells[["sigma", *cells.columns.drop("sigma")]]
    best = best_of(summary, ["sigma"])
    return PrintedTable(
        "sigma", "Noise levels", _about(summary), _note(summary), cells, summary, words_of(cells), best, _sure(summary)
    )


def words_of(columns: Iterable[Any]) -> frozenset[str]:
    """Which of a table's columns are words, and aligned left."""
    return frozenset(column for column in columns if column not in _NUMBERS and not column.startswith("r="))


def markdown(summary: pd.DataFrame) -> str:
    """`runs_table` for a README."""
    return formats.markdown(runs_table(summary))


def latex(summary: pd.DataFrame) -> str:
    """`runs_table` for a paper; needs the package booktabs."""
    return formats.latex(runs_table(summary))


def csv(summary: pd.DataFrame) -> str:
    """All columns of `summarize`, in full precision, null as nothing. Read its run_id as text."""
    return formats.csv(runs_table(summary))


HOW_SURE = (
    "95 %: with that probability, for images like these, at least the lower end is truly certifiable, and what is "
    "certified so at most the upper; images and draws are both accounted for, each radius by itself."
)
"""What the intervals of `population_interval` at delta = 0.05 say."""

_NUMBERS = {"sigma", "n0", "n", "alpha", "finished", "ACR", "abstain", "undecided", "draws", "errors"}


def _printed(summary: pd.DataFrame) -> pd.DataFrame:
    """A table's cells as text: what the caption does not say already, numbers rounded down; "-" is unknown."""
    runs = summary.set_index("run_id")
    decides = decided_radii(summary).notna().to_numpy()
    printed = telling_apart(runs)
    for column in radius_columns(runs):
        printed[column] = percents(runs, column)
        if column + ENDS[1] in runs:
            printed[f"{column} 95 %"] = intervals_of(runs, column)
    if not decides.all():
        printed["ACR"] = ["-" if np.isnan(acr) else floored(acr, 3) for acr in runs["ACR"]]
        printed["abstain"] = percents(runs, "abstain", up=True)
    if decides.any():
        printed["undecided"] = percents(runs, "undecided", up=True)
    if (runs["sampling"] != FIXED).any():
        printed["draws"] = ["-" if np.isnan(draws) else f"{ceil(draws):,}" for draws in runs["draws"]]
    if runs["errors"].any():
        printed["errors"] = runs["errors"].astype(str)
    return printed.reset_index(drop=True)


def telling_apart(runs: pd.DataFrame) -> pd.DataFrame:
    """The first cells of each run's line in any table, by run_id: what it is, as far as the caption does not say it,
    and how far it is if runs are unfinished. `runs` are those of `describe_runs`.
    """
    columns = [column for column in differing(runs) if column != "sigma"]
    printed = runs[columns].astype(str).where(runs[columns].notna(), "-")
    if "sampling" in printed:
        printed["sampling"] = short_samplings(runs)
    if "n" in printed:
        printed["n"] = printed["n"].where(runs["sampling"] == FIXED, "up to " + printed["n"])
    if "alpha" in printed:
        printed["alpha"] = ["-" if pd.isna(alpha) else shown_alpha(alpha) for alpha in runs["alpha"]]
    if varies(origins(runs)):
        printed["source"] = origins(runs)
    if twins(runs).any():
        printed["run"] = runs.index.str[:8]
    for column, cells in (("denoiser", short_denoisers(runs)), ("objective", runs["objective"])):
        printed[column] = cells.astype(object).where(cells.notna(), "unknown")
    printed["sigma"] = runs["sigma"].map("{:.6}".format)
    if varies(runs["measure"]):
        printed["measure"] = runs["measure"]
    if (runs["rows"] < runs["images"]).any():
        done = runs["rows"].astype(str) + " of " + runs["images"].astype(str)
        printed["finished"] = done.where(runs["rows"] < runs["images"], "all")
    return printed


def percents(runs: pd.DataFrame, column: str, up: bool = False) -> list[str]:
    """Shares in percent as text, of as many images as `rows` says; "-" is unknown."""
    shares = zip(runs[column], runs["rows"], strict=True)
    return ["-" if np.isnan(share) else percent(share, int(of), up) for share, of in shares]


def intervals_of(runs: pd.DataFrame, column: str) -> list[str]:
    """Intervals in percent as text, "59.6 to 72.8", rounded outwards."""
    ends = zip(runs[column + ENDS[1]], runs[column + ENDS[2]], strict=True)
    return [interval(low, high) for low, high in ends]


def interval(low: float, high: float) -> str:
    """One of them; "-" for an end that is unknown, and where both are."""
    below = "-" if np.isnan(low) else floored(100 * low, 1)
    above = "-" if np.isnan(high) else floored(-100 * high, 1).removeprefix("-")
    return "-" if below == above == "-" else f"{below} to {above}"


def _about(summary: pd.DataFrame) -> str:
    return caption(summary.set_index("run_id"), without={"sigma"})


def _note(summary: pd.DataFrame) -> str:
    measures = summary["measure"].unique()
    measure = measures[0] if len(measures) == 1 else "the measure"
    asked = decided_radii(summary).notna()
    up = [] if asked.all() else ["abstentions"]
    sentences = [f"Columns r: {measure} at that radius, in percent."]
    if asked.any():
        up.append("undecided images")
        sentences.append(
            "A run that decides one radius tells what is certified at it: at smaller ones this is a lower bound; at "
            "larger ones, and of ACR and abstentions, nothing is known (-)."
        )
    if (summary["sampling"] != FIXED).any():
        up.append("draws")
        sentences.append("Draws: mean an image, selection included.")
    rounded_up = " and ".join(filter(None, [", ".join(up[:-1]), up[-1]]))
    sentences.append(f"Percentages{'' if asked.all() else ' and ACR'} are rounded down, {rounded_up} up.")
    if not (summary["errors"].any() or is_imported(summary).any()):  # a log does not tell
        sentences.append("No image failed.")
    return " ".join(sentences)


def _sure(summary: pd.DataFrame) -> str:
    return HOW_SURE if any(column.endswith(ENDS[1]) for column in summary.columns) else ""


def best_of(summary: pd.DataFrame, rivals: Sequence[str] = ()) -> pd.DataFrame:
    """Which shares are the best of several at their radius, among runs on the same images whose certificates promise
    the same (n, alpha, bound), and that are equal in `rivals` too; bool, a column a radius.

    An unfinished run is left out: its images so far may be the easy ones. A run that decides one radius competes at
    that one alone.
    """
    radii = radius_columns(summary.columns)
    shares = summary[list(radii)].where(summary["rows"] >= summary["images"])
    asked = decided_radii(summary)
    for column, radius in radii.items():
        shares[column] = shares[column].where(asked.isna() | (asked == radius))
    alike = ["dataset", "split", "index_set", "norm", "measure", "n", "alpha", "bound"]
    # Of which images an imported run is, or at which alpha, may be unknown: then nobody knows whom it competes with.
    shares = shares.where(summary[alike].notna().all(axis=1))
    groups = shares.groupby([summary[column] for column in (*alike, *rivals)], dropna=False)
    return (shares == groups.transform("max")) & (groups.transform("count") > 1) & (shares > 0)


def decided_radii(summary: pd.DataFrame) -> pd.Series:
    """The one radius that each run decides, NaN for a run of another kind; float64, rows as in `summary`."""
    return summary["sampling"].map(decided_at).replace(np.inf, np.nan)
