"""What the rows of one run have in common, and what of it they must have for a statement."""

from typing import Any

import pandas as pd

from actors.refusal import Refusal


def shared(rows: pd.DataFrame, column: str) -> Any:
    """The one value of `column` in rows of one run; None where all are null or the column is missing.

    Raises Refusal where there are several.
    """
    if column not in rows:
        return None
    values = rows[column].dropna().unique()
    if len(values) > 1:
        several = " and ".join(str(value) for value in values[:2])
        raise Refusal(f"the rows have more than one {column} ({several}): give those of one run")
    return values[0] if len(values) else None


def named(rows: pd.DataFrame) -> str:
    """'run 0123456789012345', or 'the run' where the rows have no id."""
    run_id = shared(rows, "run_id")
    return f"run {run_id}" if run_id is not None else "the run"


def refuse_missing(rows: pd.DataFrame, *columns: str) -> None:
    """Raises Refusal if a column is missing, or empty where a statement stands upon it: in every finished row."""
    finished = rows[(rows["status"] != "error").to_numpy(bool)]
    for column in columns:
        if column not in rows or (len(finished) and finished[column].isna().all()):
            raise Refusal(f"{named(rows)} has no {column}, as rows of other tools' logs may: certify it with raysmooth")


def refuse_no_probability(delta: float) -> None:
    """Raises Refusal unless `delta`, the probability with which a statement may fail, is one."""
    if not 0 < delta < 1:
        raise Refusal(f"delta {delta:g} is the probability of being wrong, above 0 and below 1: write 0.05, say")
