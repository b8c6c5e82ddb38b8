"""The choice of a report's runs, and which of them may share a table."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError, nearest, the_one
from raysmooth.common.numbers import number
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.run_facts import DERIVED, SETTINGS, derived

COLUMNS = [*SETTINGS, "run_id", "source", "classifier_fingerprint", "denoiser_fingerprint", "rejector_fingerprint"]
"""The columns that are equal in all rows of a run, and by which runs can be chosen."""


def of_runs(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    """Each run's value in one of the COLUMNS, by run_id."""
    rows = derived(rows) if column in DERIVED else rows
    return {run: own[column].iloc[0] for run, own in by_run(rows).items()}


def where(rows: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """The rows of the runs that meet all `conditions`, each a text COLUMN=VALUE.

    Several conditions on one column mean any of their values. Numbers are compared as numbers; `denoiser=dncnn` matches
    any options, as `rejector=confidence` and `sigma_rule=ddrs` do; a run id may be shortened to its first characters.
    Raises RaysmoothError for a malformed condition, an unknown column and a value that no run has, the latter two with
    the nearest known one.
    """
    wanted: dict[str, list[str]] = {}
    for column, value in _read_conditions(conditions):
        wanted.setdefault(checked_column(rows, column, "--where"), []).append(value)
    for column, values in wanted.items():
        runs = of_runs(rows, column)
        chosen: set[str] = set()
        for value in values:
            if not (met := {run for run, has in runs.items() if _means(value, has, column)}):
                there = {shown_value(has) for has in runs.values()}
                raise RaysmoothError(
                    f"--where {column}={value}: none of these runs has that {column}: {nearest(value, there)}"
                )
            chosen |= met
        if len(chosen) < len(runs):
            rows = rows[rows["run_id"].isin(chosen)]
    return rows


def refuse_bad_conditions(conditions: Sequence[str]) -> None:
    """Raises RaysmoothError for those that `where` would refuse for any runs."""
    for column, _ in _read_conditions(conditions):
        if column not in COLUMNS:
            raise RaysmoothError(f"--where {column}: runs have no such column: {nearest(column, COLUMNS)}")


def _read_conditions(conditions: Sequence[str]) -> list[tuple[str, str]]:
    """Columns and values."""
    read = [condition.partition("=") for condition in conditions]
    for condition, (_, sign, _) in zip(conditions, read, strict=True):
        if not sign:
            raise RaysmoothError(f"--where {condition}: write COLUMN=VALUE, such as sigma=0.5")
    return [(column.strip(), value.strip()) for column, _, value in read]


def checked_column(rows: pd.DataFrame, column: str, flag: str) -> str:
    """`column`; raises RaysmoothError, naming `flag`, unless it is one of COLUMNS and in these rows."""
    known = [name for name in COLUMNS if name in rows or name in DERIVED]
    if column not in known:
        raise RaysmoothError(f"{flag} {column}: runs have no such column: {nearest(column, known)}")
    return column


def find_run(runs: Iterable[str], name: str, flag: str) -> str:
    """The one of `runs` that begins with `name`. Raises RaysmoothError, naming `flag` and the nearest run, if there is
    none or more than one.
    """
    return the_one(runs, name, f"{flag} {name}", "run")


def refuse_mixed_norms(runs: pd.DataFrame) -> None:
    """Raises RaysmoothError for radii in several norms, which no table or curve can compare.

    `runs` are those of `describe_runs`, or of `summarize`.
    """
    norms = sorted({shown_value(norm) for norm in runs["norm"]})
    if len(norms) > 1:
        raise RaysmoothError(
            f"these runs have radii in different norms ({', '.join(norms)}), which tables and curves cannot compare: "
            f"write {', or '.join(f'--where norm={norm}' for norm in norms)}"
        )


def _means(value: str, has: Any, column: str) -> bool:
    if isinstance(has, float | np.floating | int | np.integer):
        try:
            return number(value) == has
        except ValueError:
            return False
    text = shown_value(has)
    if column == "run_id":
        return bool(value) and text.startswith(value)
    return value == text or (column in ("denoiser", "rejector", "sigma_rule") and value == text.split(":")[0])


def shown_value(value: Any) -> str:
    """A value of a column, as conditions write it."""
    return "unknown" if pd.isna(value) else str(value)
