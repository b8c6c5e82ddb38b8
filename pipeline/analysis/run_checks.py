"""Values that the rows of one run share, and checks that a statistic's columns are there."""

from math import inf
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import flags, numbers
from raysmooth.pipeline.analysis.metrics import FIXED, asked_radius, samplings


def shared(rows: pd.DataFrame, column: str) -> Any:
    """The one value of `column` in rows of one run; None where all are null or the column is missing.

    Raises RaysmoothError where there are several.
    """
    if column not in rows:
        return None
    values = rows[column].dropna().unique()
    if len(values) > 1:
        several = " and ".join(str(value) for value in values[:2])
        raise RaysmoothError(f"the rows have more than one {column} ({several}): give those of one run")
    return values[0] if len(values) else None


def named(rows: pd.DataFrame) -> str:
    """'run 0123456789012345', or 'the run' where the rows have no id."""
    run_id = shared(rows, "run_id")
    return f"run {run_id}" if run_id is not None else "the run"


def refuse_missing(rows: pd.DataFrame, *columns: str) -> None:
    """Raises RaysmoothError if a column is missing, or null in every finished row."""
    finished = (rows["status"] != "error").to_numpy(bool)
    for column in columns:
        if column not in rows or (finished.any() and rows[column].isna().to_numpy()[finished].all()):
            raise RaysmoothError(
                f"{named(rows)} has no {column}, as may happen with imported logs: certify it with raysmooth"
            )


def refuse_no_probability(delta: float) -> None:
    """Raises RaysmoothError unless `delta`, the failure probability of a statement, is above 0 and below 1."""
    if not 0 < delta < 1:
        raise RaysmoothError(f"delta {delta:g}: write a probability of being wrong, above 0 and below 1, such as 0.05")


def estimation_counts(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """count_top and n_used of the rows of one run, float64 (N,) each, NaN in error rows.

    Raises RaysmoothError where rows do not record them, and where draws stopped depending on their outcome: a bound for
    a fixed number of draws is then invalid.
    """
    if rows.empty:
        raise RaysmoothError("no certificate rows: give the rows of a run that has finished an image")
    shared(rows, "run_id")
    if asked_radius(rows) < inf:
        raise RaysmoothError(
            f"{named(rows)} decides one radius: its draws stopped at its own alpha and do not support another level; "
            "certify with --sampling fixed or adaptive"
        )
    refuse_missing(rows, "count_top")
    n = numbers(rows["n_used"]) if "n_used" in rows else np.full(len(rows), np.nan)
    if np.isnan(n).any():  # rows older than the column have fixed sampling
        n = np.where(np.isnan(n) & (samplings(rows) == FIXED).to_numpy(), numbers(rows["n"]), n)
    count = numbers(rows["count_top"])
    if (are_certified(rows) & (np.isnan(count) | np.isnan(n))).any():
        raise RaysmoothError(f"{named(rows)} has certificates without count_top and n_used: certify it with raysmooth")
    return count, n


def are_certified(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are certificates, right or wrong: neither abstentions nor errors; bool (N,)."""
    return (rows["status"] != "error").to_numpy(bool) & ~flags(rows["abstain"], missing=True)
