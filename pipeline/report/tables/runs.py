"""A summary of runs as a table, and what the cells of all tables share."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.pipeline.analysis.metrics import FIXED, decided_at
from raysmooth.pipeline.analysis.run_facts import has_usual_bound, is_imported, varies
from raysmooth.pipeline.analysis.run_selection import refuse_mixed_norms
from raysmooth.pipeline.analysis.summary import ENDS, radius_columns
from raysmooth.pipeline.report.captions import Caption, caption, run_cells
from raysmooth.pipeline.report.rounding import floored, percent
from raysmooth.pipeline.report.tables import formats
from raysmooth.pipeline.report.tables.formats import PrintedTable


def runs_table(summary: pd.DataFrame) -> PrintedTable:
    """The result of `summarize`, one line per run, numbers rounded down: "-" is unknown, "a to b" an interval, rounded
    outwards. The best at each radius, by `best_of`, is bold. Raises RaysmoothError for runs in different norms.
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
        text_columns(cells),
        best_of(summary),
        _intervals_note(summary),
        _what(summary),
    )


def sigma_table(summary: pd.DataFrame) -> PrintedTable:
    """`runs_table` ordered by noise level; the best at a radius is that of each level."""
    refuse_mixed_norms(summary)
    summary = summary.sort_values("sigma", kind="stable", ignore_index=True)
    cells = _printed(summary)
    cells = cells[["sigma", *cells.columns.drop("sigma")]]
    best = best_of(summary, ["sigma"])
    return PrintedTable(
        "sigma",
        "Noise levels",
        _about(summary),
        _note(summary),
        cells,
        summary,
        text_columns(cells),
        best,
        _intervals_note(summary),
        _what(summary),
    )


def text_columns(columns: Iterable[Any]) -> frozenset[str]:
    """The columns of a table that hold text, and are aligned left."""
    return frozenset(column for column in columns if column not in _NUMBERS and not column.startswith("r="))


def markdown(summary: pd.DataFrame) -> str:
    """`runs_table` for a README."""
    return formats.markdown(runs_table(summary))


def latex(summary: pd.DataFrame, label: str | None = None) -> str:
    """`runs_table` for a paper; `label` and needs as in `formats.latex`."""
    return formats.latex(runs_table(summary), label)


def csv(summary: pd.DataFrame) -> str:
    """All columns of `summarize`, in full precision, null as nothing. Read its run_id as text."""
    return formats.csv(runs_table(summary))


INTERVALS_NOTE = (
    "95 % intervals, for images like these: with probability at least 95 %, at least the lower end is truly "
    "certifiable and this procedure certifies at most the upper end. Images and draws are both accounted for. Each "
    "interval is valid for a single run and radius chosen in advance."
)
"""The statement of `population_interval` at delta = 0.05."""

_NUMBERS = {
    "sigma", "n0", "n", "alpha", "finished", "ACR", "abstain", "undecided", "draws", "unanswered", "errors", "failed",
}  # fmt: skip


def _printed(summary: pd.DataFrame) -> pd.DataFrame:
    """A table's cells as text, without what the caption states; numbers are rounded down, "-" is unknown."""
    runs = summary.set_index("run_id")
    decides = decided_radii(summary).notna().to_numpy()
    printed = run_cells(runs)
    for column in radius_columns(runs):
        printed[column] = percents(runs, column)
        if column + ENDS[1] in runs:
            printed[f"{column} 95 %"] = intervals_of(runs, column)
    if not decides.all():
        printed["ACR"] = acr_cells(runs)
        printed["abstain"] = percents(runs, "abstain", up=True)
    if decides.any():
        printed["undecided"] = percents(runs, "undecided", up=True)
    if (runs["sampling"] != FIXED).any():
        printed["draws"] = ["-" if np.isnan(draws) else f"{ceil(draws):,}" for draws in runs["draws"]]
    if "unanswered" in runs and (runs["unanswered"] > 0).any():
        printed["unanswered"] = ["-" if np.isnan(draws) else f"{draws:,.0f}" for draws in runs["unanswered"]]
    if runs["errors"].any():
        printed["errors"] = runs["errors"].astype(str)
    return printed.reset_index(drop=True)


def acr_cells(runs: pd.DataFrame) -> list[str]:
    """ACRs as text, rounded down; "-" is unknown."""
    return ["-" if np.isnan(acr) else floored(acr, 3) for acr in runs["ACR"]]


def percents(runs: pd.DataFrame, column: str, up: bool = False) -> list[str]:
    """The shares in `column`, of the `rows` images of each run, in percent as text; "-" is unknown."""
    shares = zip(runs[column], runs["rows"], strict=True)
    return ["-" if np.isnan(share) else percent(share, int(of), up) for share, of in shares]


def intervals_of(runs: pd.DataFrame, column: str) -> list[str]:
    """Intervals in percent as text, "59.6 to 72.8", rounded outwards."""
    ends = zip(runs[column + ENDS[1]], runs[column + ENDS[2]], strict=True)
    return [interval(low, high) for low, high in ends]


def interval(low: float, high: float) -> str:
    """One interval in percent as text; "-" for an unknown end, and for an interval with two."""
    below = "-" if np.isnan(low) else floored(100 * low, 1)
    above = "-" if np.isnan(high) else floored(-100 * high, 1).removeprefix("-")
    return "-" if below == above == "-" else f"{below} to {above}"


def _about(summary: pd.DataFrame) -> Caption:
    return caption(summary.set_index("run_id"), without={"sigma"})


def _what(summary: pd.DataFrame) -> str:
    quantities = summary["quantity"].unique()
    quantity = quantities[0] if len(quantities) == 1 else "each line's quantity"
    return f"{quantity[0].upper()}{quantity[1:]} at radius r, in percent"


def _note(summary: pd.DataFrame) -> str:
    decides = decided_radii(summary).notna()
    up = [] if decides.all() else ["abstentions"]
    sentences = []
    if decides.any():
        up.append("undecided images")
        sentences.append(
            "A run that decides one radius gives the share certified at that radius: a lower bound at smaller radii; "
            "at larger radii, and for ACR and abstentions, nothing is known (-)."
        )
    if (summary["sampling"] != FIXED).any():
        up.append("draws")
        sentences.append("Draws: mean per image, including selection.")
    if "unanswered" in summary and (summary["unanswered"] > 0).any():
        sentences.append("Unanswered: estimation draws that the API gives no label; they count for no class.")
    rounded_up = " and ".join(filter(None, [", ".join(up[:-1]), up[-1]]))
    sentences.append(f"Percentages{'' if decides.all() else ' and ACR'} are rounded down, {rounded_up} up.")
    if varies(summary["about"]):
        sentences.append("Bold: the best of those whose certificates are about the same.")
    if not (summary["errors"].any() or is_imported(summary).any()):  # logs do not record errors
        sentences.append("No image failed.")
    return " ".join(sentences)


def _intervals_note(summary: pd.DataFrame) -> str:
    return INTERVALS_NOTE if any(column.endswith(ENDS[1]) for column in summary.columns) else ""


def best_of(summary: pd.DataFrame, alike: Sequence[str] = ()) -> pd.DataFrame:
    """Which shares are the best of several at their radius, among runs on the same images with the same guarantee (n,
    alpha, bound, what their certificates are about) and equal values in the columns `alike`; bool, one column per
    radius.

    Unfinished runs are left out: their images so far may be the easy ones. A run that decides one radius competes at
    that radius only.
    """
    radii = radius_columns(summary.columns)
    shares = summary[list(radii)].where(summary["rows"] >= summary["images"])
    decided = decided_radii(summary)
    for column, radius in radii.items():
        shares[column] = shares[column].where(decided.isna() | (decided == radius))
    comparable = ["dataset", "split", "index_set", "norm", "quantity", "n", "alpha", "bound", "about"]
    # With a rejector and without one, certify's own bounds are comparable: both hold with the same probability.
    usual = summary["bound"].mask(has_usual_bound(summary), "usual")
    summary = summary.assign(bound=usual)
    # An imported run whose images or alpha are unknown cannot be compared with others.
    shares = shares.where(summary[comparable].notna().all(axis=1))
    groups = shares.groupby([summary[column] for column in (*comparable, *alike)], dropna=False)
    return (shares == groups.transform("max")) & (groups.transform("count") > 1) & (shares > 0)


def decided_radii(summary: pd.DataFrame) -> pd.Series:
    """The radius that each run decides, NaN for runs that do not decide one; float64, indexed as `summary`."""
    return summary["sampling"].map(decided_at).replace(np.inf, np.nan)
