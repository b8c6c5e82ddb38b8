"""Certified top-k accuracy: from the rows of runs with top-k certificates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import numbers
from raysmooth.pipeline.analysis.metrics import labelled


def k_of(rows: pd.DataFrame) -> int | None:
    """The k of the top-k certificates of one run; None for a run without them, and where no image is finished."""
    if "top_k" not in rows or (known := rows["top_k"].dropna()).empty:
        return None
    return int(known.iloc[0])


def top_k_radii(rows: pd.DataFrame) -> np.ndarray:
    """The radius within which each image's label stays among the k most likely classes, float64 (N,): where the run is
    not `labelled`, the selected class. -inf where that is not certain even at the image itself, and for an error.
    """
    column = "label_radius_top_k" if labelled(rows) else "radius_top_k"
    if column not in rows:
        raise RaysmoothError("these rows have no top-k certificates: write 'raysmooth recertify --top-k 5' first")
    return np.asarray(numbers(rows[column], missing=-np.inf))


def certified_top_k(rows: pd.DataFrame, radii: Sequence[float] | np.ndarray) -> np.ndarray:
    """Share of all images whose label stays among the k most likely classes within r, for each r of `radii`; float64
    (M,) in [0, 1]. Where the run is not `labelled`, that of images whose selected class does, right or wrong. An error
    row counts as not certified. Raises RaysmoothError for rows without top-k certificates.
    """
    held = np.sort(top_k_radii(rows))
    below = np.searchsorted(held, np.asarray(radii, float), side="left")
    return (len(held) - below) / len(held)
