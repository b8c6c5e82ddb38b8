"""Columns of rows as NumPy arrays, whatever dtype their nulls gave them."""

import numpy as np
import pandas as pd


def flags(column: pd.Series, missing: bool) -> np.ndarray:
    """A column of true, false and null, as bool (N,)."""
    if column.dtype == bool:  # the usual case, and fast
        return column.to_numpy()
    return column.astype("boolean").fillna(missing).to_numpy(bool)


def text_of(value: object) -> str | None:
    """A cell of a column of texts; None for null, however pandas has it."""
    return value if isinstance(value, str) else None


def numbers(column: pd.Series, missing: float = np.nan) -> np.ndarray:
    """A column of numbers and null, as float64 (N,)."""
    if column.dtype.kind not in "iuf":
        return column.astype("Float64").to_numpy(float, na_value=missing)
    values = column.to_numpy(float)
    return values if np.isnan(missing) else np.where(np.isnan(values), missing, values)


def by_run(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Each run's rows, in their order, by run_id; runs in the order of their first rows.

    Nothing is copied if the rows of each run are contiguous, as read from disk.
    """
    codes, runs = pd.factorize(rows["run_id"])
    if (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
        rows, codes = rows.iloc[order], codes[order]
    ends = np.searchsorted(codes, np.arange(len(runs)), side="right")
    return {run: rows.iloc[begin:end] for run, begin, end in zip(runs, [0, *ends[:-1]], ends, strict=True)}
