"""Certified accuracy class by class: an average may hide that one class is never certified."""

from collections.abc import Sequence
from math import fsum, inf

import numpy as np
import pandas as pd

from actors.refusal import Refusal
from pipeline.confidence import with_intervals
from pipeline.metrics import asked_radius, certified_radii, labelled
from pipeline.one_run import named, refuse_no_probability, shared


def accuracy_per_class(
    rows: pd.DataFrame, radii: Sequence[float] | np.ndarray, delta: float = 0.05, method: str = "exact"
) -> pd.DataFrame:
    """`accuracy_intervals` of the images of each true class of one run; a row for each class and radius, ascending.

    Columns: label (Int64, null for images without one, last), those of `accuracy_intervals`. Each class is a statement
    of its own, and with few images a wide one. Raises Refusal where no image has a label, and as `accuracy_intervals`.
    """
    refuse_no_probability(delta)
    labels, images, certified = count_per_class(rows, radii)
    table = pd.DataFrame(
        {
            "label": labels.repeat(len(radii)),
            "radius": np.tile(np.asarray(radii, float), len(labels)),
            "images": images.repeat(len(radii)),
            "certified": certified.ravel(),
        }
    )
    return with_intervals(table, rows, delta, method)


def count_per_class(
    rows: pd.DataFrame, radii: Sequence[float] | np.ndarray
) -> tuple[pd.api.extensions.ExtensionArray, np.ndarray, np.ndarray]:
    """The labels of one run, Int64 (K,), ascending, null last; how many images each has, int64 (K,), and how many of
    them are certified at each of `radii`, int64 (K, M). Refused as `accuracy_per_class` is, which adds intervals.
    """
    label, reached = _images(rows)
    codes, labels = pd.factorize(label.array, sort=True, use_na_sentinel=False)
    values = reached.to_numpy()
    certified = [np.bincount(codes[values >= radius], minlength=len(labels)) for radius in np.asarray(radii, float)]
    return labels, np.bincount(codes, minlength=len(labels)), np.column_stack(certified)


def classes(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each true class of one run: label (Int64), images, ACR, abstain (share of its images).

    ACR and abstain as in `average_certified_radius` and `abstention_rate`; order and refusals as in
    `accuracy_per_class`.
    """
    label, reached = _images(rows)
    abstain = rows["abstain"].astype("boolean").fillna(False) & (rows["status"] != "error")
    images = pd.DataFrame({"radius": reached.clip(lower=0), "abstain": abstain.astype(float)})
    by_class = images.groupby(label, dropna=False)
    sizes = by_class.size()
    table = pd.DataFrame(
        {"images": sizes, "ACR": by_class["radius"].agg(fsum) / sizes, "abstain": by_class["abstain"].mean()}
    )
    if asked_radius(rows) < inf:
        table[["ACR", "abstain"]] = np.nan
    return table.rename_axis("label").reset_index()


def _images(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Of each image of one run the label, Int64, and the radius up to which it counts, float64, -inf where at none."""
    shared(rows, "run_id")
    if not labelled(rows):
        raise Refusal(f"{named(rows)} has no labels, hence no classes: certify a data set that has them")
    return rows["label"].astype("Int64"), pd.Series(certified_radii(rows), rows.index)
