"""Runs of certify on the digits, on Ray, and what they leave."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.common.settings import user_settings
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.parts import read_rows

DIGITS = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 23, "n": 500, "n0": 40}

Result = tuple[pd.DataFrame, pd.DataFrame]
"""Rows and counts."""


def settings_of(out: Path, **changes: Any) -> SamplingSettings:
    values = {**DIGITS, "replicas": 1, "batch_size": 100, "block_size": 200, "precision": "float32", "out": str(out)}
    return user_settings(PROCEDURES["certify"].settings, values | changes)


def run(out: Path, **changes: Any) -> pd.DataFrame:
    return run_procedure(PROCEDURES["certify"], [settings_of(out, **changes)], show_progress=False)


def counts_of(out: Path) -> pd.DataFrame:
    """All stored counts, in the order of what they are, whichever session drew them."""
    parts = pd.concat([pd.read_parquet(part) for part in out.glob("runs/*/counts/*.parquet")])
    parts = parts.drop(columns="seconds").sort_values(["image_id", "role", "block"], ignore_index=True)
    return parts.assign(labels=parts.labels.map(list), counts=parts.counts.map(list))


def rows_of(out: Path) -> pd.DataFrame:
    """The rows of the one run in `out`."""
    (folder,) = out.glob("runs/*")
    return read_rows(out, "certificates", folder.name)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.drop(columns="seconds"), right.drop(columns="seconds"))


def neighbours(counts: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The counts of the images that have a row in `rows`."""
    return counts[counts.image_id.isin(rows.image_id)].reset_index(drop=True)


def error_of(row: dict[str, Any]) -> str:
    """The reason of an error row, which holds no conclusion."""
    assert row["status"] == "error"
    assert np.isnan(row["radius"])
    assert np.isnan(row["prediction"])
    assert not row["correct"]
    assert not row["abstain"]
    assert "\n" not in row["error"]
    return row["error"]
