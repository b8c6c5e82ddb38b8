"""Rows as the Python API returns them, what differs between images first, and its warnings of images that failed."""

from collections.abc import Sequence

import pandas as pd

from raysmooth.common.warning import warn_caller
from raysmooth.pipeline.analysis.failures import Failures, lines_of

FIRST = (
    "image_id",
    "label",
    "label_name",
    "step",
    "prediction",
    "prediction_name",
    "radius",
    "correct",
    "abstain",
    "worst_radius",
    "image_sigma",
    "objective_value",
    "p_lower",
    "p_upper",
    "p_value",
    "count_top",
    "decision",
    "prediction_top_k",
    "radius_top_k",
    "count_label",
    "label_radius_top_k",
    "n_used",
    "draws",
    "seconds",
    "status",
    "error",
    "file",
)
"""Columns of one image, in order. The facts of its run follow: `OF_RUN`, then all others in the order of the files."""

OF_RUN = ("top_k", "sigma", "sigma_rule", "run_id")

BY = ("image_id", "sigma", "run_id", "step")
"""What rows are sorted by; only those of a search have steps."""


def in_reading_order(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` of certificates, predictions or levels with the columns in a fixed order, sorted by image, sigma, run and
    step. The files on disk keep theirs: the facts of the run, then those of the image.
    """
    named = [column for column in (*FIRST, *OF_RUN) if column in rows]
    columns = [*named, *(column for column in rows if column not in named)]
    by = [column for column in BY if column in rows]
    return rows[columns].sort_values(by, ignore_index=True) if by else rows[columns]


def warn_of_failures(found: Sequence[Failures], stages: Sequence[str] | None = None) -> None:
    """A Python warning of images that failed."""
    for line in lines_of(found, stages):
        warn_caller(line)
