"""The data of a report: the rows of the chosen runs, and what its tables and figures derive from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.run_selection import checked_column, of_runs, refuse_mixed_norms, where
from raysmooth.pipeline.analysis.summary import ENDS, heading, radius_columns, summarize
from raysmooth.pipeline.report.captions import Caption, caption, run_cells

DELTA = 0.05
"""Probability that the interval of a certified accuracy fails."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """`rows` are certificate rows of runs in one norm, `radii` those of the tables (None: `summarize`'s), `group_by`
    the columns that define the lines of an envelope (None: `default_groups`), `price_per_hour` that of one replica.
    """

    rows: pd.DataFrame
    radii: Sequence[float] | None = None
    group_by: Sequence[str] | None = None
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        for column in self.group_by or ():
            checked_column(self.rows, column, "--group-by")
        refuse_mixed_norms(self.runs)
        if self.price_per_hour is not None and not (isfinite(self.price_per_hour) and self.price_per_hour >= 0):
            raise RaysmoothError(
                f"--price-per-hour {self.price_per_hour:g}: write the price of one replica for an hour, such as 2.5"
            )

    @classmethod
    def of(cls, rows: pd.DataFrame, conditions: Sequence[str] = (), **options: Any) -> "ReportData":
        """From the rows of the runs that meet the `conditions` of `where`. Raises RaysmoothError as `where` does."""
        return cls(where(rows, conditions), **options)

    @cached_property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The rows of each run."""
        return by_run(self.rows)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """`describe_runs`, with any further columns of `group_by`."""
        runs = describe_runs(self.rows)
        more = [column for column in self.group_by or () if column not in (*runs, runs.index.name)]
        return runs.assign(**{column: pd.Series(of_runs(self.rows, column)) for column in more})

    @cached_property
    def run_cells(self) -> pd.DataFrame:
        """`run_cells` of the runs."""
        return run_cells(self.runs)

    @cached_property
    def caption(self) -> Caption:
        """`caption` of the runs, without sigma."""
        return caption(self.runs, without={"sigma"})

    @cached_property
    def summary(self) -> pd.DataFrame:
        """`summarize` at the radii of the tables, with intervals."""
        return summarize(self.rows, self.radii, DELTA, self.runs)

    @cached_property
    def plain_summary(self) -> pd.DataFrame:
        """`summary` without intervals."""
        ends = [
            column
            for column in self.summary.columns.astype(str)
            if column.startswith("r=") and column.endswith(ENDS[1:])
        ]
        return self.summary.drop(columns=ends)

    @cached_property
    def from_zero(self) -> pd.DataFrame:
        """`plain_summary` with r=0, which some tables need, among the radii."""
        if heading(0.0) in self.summary:
            return self.plain_summary
        return summarize(self.rows, [0.0, *radius_columns(self.summary.columns).values()], runs=self.runs)
