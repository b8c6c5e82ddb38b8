"""Certified accuracy class by class: an average may hide that one class is never certified."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from actors.refusal import Refusal
from pipeline.confidence import interval_table
from pipeline.metrics import abstention_rate, average_certified_radius, certified_radii, labelled
from pipeline.one_run import named, shared


def accuracy_per_class(
    rows: pd.DataFrame, radii: Sequence[float] | np.ndarray, delta: float = 0.05, method: str = "exact"
) -> pd.DataFrame:
    """`accuracy_intervals` of the images of each true class of one run; a row for each class and radius, ascending.

    Columns: label (Int64, null for images without one, last), those of `accuracy_intervals`. Each class is a statement
    of its own, and with few images a wide one. Raises Refusal where no image has a label, and as `accuracy_intervals`.
    """
    counted = _counted(rows)
    # Not class by class: a thousand of them would take a second a run.
    codes, labels = pd.factorize(counted["label"].astype("Int64").array, sort=True, use_na_sentinel=False)
    radii, reached = np.asarray(radii, float), certified_radii(counted)
    certified = np.column_stack([np.bincount(codes[reached >= radius], minlength=len(labels)) for radius in radii])
    images = np.repeat(np.bincount(codes), len(radii))
    table = interval_table(counted, np.tile(radii, len(labels)), images, certified.ravel(), delta, method)
    table.insert(0, "label", pd.Series(labels.repeat(len(radii)), dtype="Int64"))
    return table


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
    counted = _counted(rows)
    groups = counted.groupby(counted["label"].astype("Int64"), dropna=False)
    return [(None if pd.isna(label) else int(label), own) for label, own in groups]


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, those without a label wrong, as they are in the average."""
    shared(rows, "run_id")
    if not labelled(rows):
        raise Refusal(f"{named(rows)} has no labels, hence no classes: certify a data set that has them")
    return rows.assign(correct=rows["correct"].astype("boolean").fillna(False))
