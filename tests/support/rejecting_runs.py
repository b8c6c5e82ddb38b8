"""Certificate rows of small runs with a rejector, and of the same draws without it."""

from typing import Any

import pandas as pd
from certificate_rows import BETTER, DENOISED, A, B, counted, run_of

N = 10_000
CONFIDENCE = "confidence:threshold=0.6"

# Of eight images with labels 0, 1, 1, 1, 2, 2, 2 and null: kept draws of the top class, rejected ones.
TOP = (9000, N, 6000, 4000, 9500, 3000, 0, 5000)
REJECTED = (900, 0, 3500, 5900, 0, 2000, N, 2600)
OUTCOMES = [(0, 0.5), (1, 0.8), (1, 0.25), (2, 0.1), (2, 0.75), (-1, 0.0), (-1, 0.0), (None, None)]
LABELS = (0, 1, 1, 1, 2, 2, 2, None)


def rejecting_run(run_id: str = A, rejector: str = CONFIDENCE, **facts: Any) -> pd.DataFrame:
    """Four images certified, the fourth for a wrong class; two abstentions, and a failure."""
    rows = run_of(run_id, OUTCOMES, **{**DENOISED, "sigma": 0.5, **facts})
    failed = rows["status"] == "error"
    rows["label"] = pd.array(LABELS, "Int64")
    rows["correct"] = (rows["prediction"] == rows["label"]).fillna(False).astype(bool)
    counts = {
        "count_top": pd.array(TOP, "Int64"),
        "count_rejected": pd.array(REJECTED, "Int64"),
        "n_used": pd.array([N] * len(rows), "Int64"),
    }
    rows = rows.assign(**{name: pd.Series(values).mask(failed) for name, values in counts.items()})
    bounds = {"p_upper": 0.01, "noise_bound": "runner-up", "alpha_share": 0.5}
    return rows.assign(rejector=rejector, rejector_fingerprint=None, source=None, draws=N + 100, **bounds)


def without_rejection(rows: pd.DataFrame, run_id: str = B) -> pd.DataFrame:
    """The same images as recertified without the rejector."""
    source = f"recertified from {rows['run_id'].iloc[0]}"
    gone = dict.fromkeys(("rejector", "count_rejected", "p_upper", "alpha_share"))
    return rows.assign(run_id=run_id, source=source, noise_bound="complement", **gone)


def plain_run(run_id: str = "c" * 16, **facts: Any) -> pd.DataFrame:
    """A run that never had a rejector, of a version without these columns."""
    return counted(run_of(run_id, BETTER, **{**DENOISED, "sigma": 0.5, **facts}))
