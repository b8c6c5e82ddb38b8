"""The paper's numbers, and ours below each row."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isnan
from typing import TYPE_CHECKING, Protocol

from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.pipeline.report.rounding import floored, percent

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LateModule("pandas")

WHOSE, PAPERS, OURS, MISSING = "whose", "paper", "ours", "-"


class PaperRow(Protocol):
    """A row of a paper's table, with numbers as printed; `ours` are the names of the runs to compare with it."""

    @property
    def row(self) -> str: ...

    @property
    def ours(self) -> Sequence[str]: ...

    @property
    def sigma(self) -> float | None: ...

    @property
    def acr(self) -> float | str | None: ...

    @property
    def values(self) -> Sequence[float | str | None]: ...


class PaperNumbers(Protocol):
    """A paper's table: `layout` is a name in `LAYOUTS`, `radii` are those of the columns."""

    @property
    def layout(self) -> str: ...

    @property
    def radii(self) -> Sequence[float]: ...

    @property
    def rows(self) -> Sequence[PaperRow]: ...


def compare_with_paper(
    numbers: PaperNumbers,
    summary: "pd.DataFrame",
    runs: Mapping[str, Sequence[str]],
    planned: Mapping[str, int] | None = None,
) -> "pd.DataFrame":
    """Two rows for each row of the paper's table: the paper's numbers, and ours; all text, "-" for a missing number.

    `summary` is the result of `summarize` (pipeline.report.report) for our runs at radius 0 and the table's radii.
    `runs` are run ids by the names in `ours`; `planned`, the final number of runs of each name: with fewer, the column
    "whose" says how many there are. Columns: model, sigma if rows have one, whose, ACR if the paper has it, and
    `r=<radius>`, in percent. Ours are rounded down.
    """
    from raysmooth.pipeline.analysis.summary import heading

    leading = ["model", *(["sigma"] if any(row.sigma is not None for row in numbers.rows) else []), WHOSE]
    with_acr = any(row.acr is not None for row in numbers.rows)
    headings = [heading(radius) for radius in numbers.radii]
    lines = []
    for row in numbers.rows:
        known = [run for name in row.ours for run in runs.get(name, ())]
        expected = sum((planned or {}).get(name, 0) for name in row.ours)
        ours = OURS if len(known) >= expected else f"{OURS} ({len(known)} of {expected} runs)"
        own = summary[summary["run_id"].isin(known)]
        if row.sigma is not None:
            own = own[own["sigma"] == row.sigma]
        acr, cells = LAYOUTS[numbers.layout](own, headings) if len(own) else (MISSING, [MISSING] * len(headings))
        name = {"model": row.row, "sigma": MISSING if row.sigma is None else f"{row.sigma:g}"}
        theirs = [_printed(value, 1) for value in row.values]
        for whose, mean, values in ((PAPERS, _printed(row.acr, 3), theirs), (ours, acr, cells)):
            lines.append({**name, WHOSE: whose, "ACR": mean, **dict(zip(headings, values, strict=True))})
    return pd.DataFrame(lines)[[*leading, *(["ACR"] if with_acr else []), *headings]]


Layout = Callable[["pd.DataFrame", Sequence[str]], tuple[str, list[str]]]
"""From the summary of a row's runs (at least one) and the columns of the radii to the ACR and the cells, as text."""


def _envelope(runs: "pd.DataFrame", headings: Sequence[str]) -> tuple[str, list[str]]:
    """The best of all runs at each radius, in parentheses its accuracy at radius 0; of equally good runs
    the most accurate.
    """
    cells = []
    for name in headings:
        winner = runs.sort_values([name, "r=0"], ascending=False, kind="stable").iloc[0]
        certified = _percent(winner, name)
        cells.append(MISSING if certified == MISSING else f"({_percent(winner, 'r=0')}){certified}")
    return MISSING, cells


def _single(runs: "pd.DataFrame", headings: Sequence[str]) -> tuple[str, list[str]]:
    """One run; of several runs the one with the largest ACR."""
    run = runs.sort_values("ACR", ascending=False, kind="stable").iloc[0]
    return _acr(run["ACR"], 3), [_percent(run, name) for name in headings]


def _seeds(runs: "pd.DataFrame", headings: Sequence[str]) -> tuple[str, list[str]]:
    """Mean of the runs' ACR, and its standard deviation (n - 1), rounded up; the radii as in `single`."""
    deviation = runs["ACR"].std()  # NaN for a single run
    spread = "" if isnan(deviation) else f"±{ceil(deviation * 10**4) / 10**4:.4f}"
    count = "" if len(runs) == 1 else f" ({len(runs)} seeds)"
    return f"{_acr(runs['ACR'].mean(), 4)}{spread}{count}", _single(runs, headings)[1]


LAYOUTS: Registry[Layout] = Registry("layout", {"envelope": _envelope, "single": _single, "seeds": _seeds})


def _percent(run: "pd.Series", name: str) -> str:
    """Certified accuracy of a run at a radius; MISSING if unknown, as in runs that decide another radius."""
    accuracy = float(run[name])
    return MISSING if isnan(accuracy) else percent(accuracy, int(run["rows"]))


def _acr(mean: float, digits: int) -> str:
    return MISSING if isnan(mean) else floored(mean, digits)


def _printed(value: float | str | None, digits: int) -> str:
    """A number as the paper prints it."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    return f"{value:.{digits}f}" if round(value, digits) == value else f"{value:g}"
