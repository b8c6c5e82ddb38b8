"""Certified accuracy class by class: an average may hide that one class is never certified."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from actors.refusal import Refusal
from pipeline.confidence import accuracy_intervals
from pipeline.metrics import abstention_rate, average_certified_radius, labelled
from pipeline.one_run import named, shared


def accuracy_per_class(
    rows: pd.DataFrame, radii: Sequence[float] | np.ndarray, delta: float = 0.05, method: str = "exact"
) -> pd.DataFrame:
    """`accuracy_intervals` of the images of each true class of one run; a row for each class and radius, ascending.

    Columns: label (Int64, null for images without one, last), those of `accuracy_intervals`. Each class is a statement
    of its own, and with few images a wide one. Raises Refusal where no image has a label, and as `accuracy_intervals`.
    """
    tables = []
    for label, own in _classes(rows):
        tables.append(accuracy_intervals(own, radii, delta, method))
        tables[-1].insert(0, "label", pd.Series([label] * len(tables[-1]), dtype="Int64"))
    return pd.concat(tables, ignore_index=True)


def classes(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each true class of one run: label (Int64), images, ACR, abstain (share). NaN, refused and order as in
    `average_certified_radius`, `abstention_rate` and `accuracy_per_class`.
    """
    table = [
        {"label": label, "images": len(own), "ACR": average_certified_radius(own), "abstain": abstention_rate(own)}
        for label, own in _classes(rows)
    ]
    return pd.DataFrame(table).astype({"label": "Int64"})


def _classes(rows: pd.DataFrame) -> list[tuple[int | None, pd.DataFrame]]:
    """The rows of each true class, None for those that have none."""
    shared(rows, "run_id")
    if not labelled(rows):
        raise Refusal(f"{named(rows)} has no labels, hence no classes: certify a data set that has them")
    # A row without a label counts as wrong, as it does in the average.
    counted = rows.assign(correct=rows["correct"].astype("boolean").fillna(False))
    groups = counted.groupby(counted["label"].astype("Int64"), dropna=False)
    return [(None if pd.isna(label) else int(label), own) for label, own in groups]
