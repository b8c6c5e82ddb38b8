"""Certified accuracy by class: an average may hide that one class is never certified."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import certified_radii, labelled
from raysmooth.pipeline.analysis.run_checks import named, shared


def count_per_class(
    rows: pd.DataFrame, radii: Sequence[float] | np.ndarray
) -> tuple[pd.api.extensions.ExtensionArray, np.ndarray, np.ndarray]:
    """The labels of one run, Int64 (K,), ascending, null last; the number of images of each, int64 (K,), and how many
    of them are certified at each of `radii`, int64 (K, M). Raises RaysmoothError where no image has a label, if there
    are no rows, or rows of several runs.
    """
    shared(rows, "run_id")
    if not labelled(rows):
        raise RaysmoothError(f"{named(rows)} has no labels, which define the classes: certify a data set with labels")
    label: pd.Series = rows["label"].astype("Int64")
    codes, labels = pd.factorize(label.array, sort=True, use_na_sentinel=False)
    values = certified_radii(rows)
    certified = [np.bincount(codes[values >= radius], minlength=len(labels)) for radius in np.asarray(radii, float)]
    return labels, np.bincount(codes, minlength=len(labels)), np.column_stack(certified)


def names_of_classes(rows: pd.DataFrame) -> dict[int, str]:
    """The names by label that the rows of one run have; none in rows older than the column."""
    if "label_name" not in rows:
        return {}
    pairs = rows[["label", "label_name"]].dropna().drop_duplicates("label")
    return {int(label): str(name) for label, name in zip(pairs["label"], pairs["label_name"], strict=True)}
