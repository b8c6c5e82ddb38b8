"""Certificate rows of small runs, as input of reports."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, norm

FACTS: dict[str, Any] = {
    "dataset": "digits",
    "split": "test",
    "index_set": "every 50th of 400 (8 images)",
    "classifier": "digits_cnn",
    "denoiser": "none",
    "objective": "none",
    "noise": "gaussian",
    "norm": "l2",
    "sigma": 0.25,
    "n0": 100,
    "n": 10_000,
    "alpha": 0.001,
    "images": 8,
}
DENOISED = {"denoiser": "dncnn:channels=1,depth=5,width=16", "objective": "stab+mse"}
A, B = "0123456789012345", "fedcba9876543210"  # the first is all digits: it must stay text

# (prediction, radius) of eight images whose label is 1; -1 abstains, None is an error row.
PLAIN = [(1, 0.5), (1, 0.25), (1, 0.8), (1, 0.1), (2, 0.75), (-1, 0.0), (-1, 0.0), (None, None)]
BETTER = [(1, 0.6), (1, 0.3), (1, 0.8), (1, 0.1), (1, 0.75), (-1, 0.0), (1, 0.05), (1, 0.3)]


def rows_of(outcomes: Sequence[tuple[Any, Any]], label: int | None = 1, **facts: Any) -> list[dict[str, Any]]:
    """A run's rows, one for each (prediction, radius), as written to disk."""
    return [
        {
            **FACTS,
            **facts,
            "image_id": 50 * i,
            "label": label,
            "prediction": prediction,
            "abstain": prediction == -1,
            "correct": False if prediction is None else None if label is None else prediction == label,
            "radius": radius,
            "seconds": 0.1,
            "status": "error" if prediction is None else "ok",
            "error": "unreadable" if prediction is None else None,
        }
        for i, (prediction, radius) in enumerate(outcomes)
    ]


def run_of(run_id: str, outcomes: Sequence[tuple[Any, Any]] = PLAIN, **options: Any) -> pd.DataFrame:
    """The same as read back from disk."""
    return pd.DataFrame(rows_of(outcomes, **options)).assign(run_id=run_id)


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with counts of n draws that give their radii, or the next larger ones that counts can give."""
    n, alpha, sigma = rows["n"].iloc[0], rows["alpha"].iloc[0], rows["sigma"].iloc[0]
    bounds = beta.ppf(alpha, np.arange(1, n + 1), n - np.arange(n))
    certified = (rows["radius"] > 0).to_numpy()
    count = 1 + np.searchsorted(bounds[:-1], norm.cdf(rows["radius"].fillna(0) / sigma))
    count = np.where(certified, count, n // 2)
    failed = rows["status"] == "error"
    columns = {
        "radius": np.where(certified, sigma * norm.ppf(bounds[count - 1]), rows["radius"]),
        "p_lower": pd.Series(bounds[count - 1]).mask(failed),
        "count_top": pd.Series(count, dtype="Int64").mask(failed),
        "n_used": pd.Series(n, rows.index, dtype="Int64").mask(failed),
    }
    return rows.assign(**columns)


def sampled_run(
    run_id: str,
    sampling: str,
    outcomes: Sequence[tuple[Any, Any]] = PLAIN,
    draws: Sequence[int | None] = (300, 500, 700, 900, 1100, 1300, 1501, None),
    undecided: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """A run with another sampling method than the papers'. It has draws, 900.142857... on average, and decisions; the
    first `undecided` abstentions are undecided.
    """
    rows = run_of(run_id, outcomes, **options).assign(sampling=sampling, draws=list(draws)[: len(outcomes)])
    if sampling.startswith("decide"):
        rows["decision"] = ["not certified" if prediction == -1 else "certified" for prediction, _ in outcomes]
        rows.loc[rows.index[rows["abstain"]][:undecided], "decision"] = "undecided"
        rows.loc[rows["status"] == "error", "decision"] = None
    return rows


# At radius 0.3: four of eight certified, one of them wrongly; three are not, one failed.
DECIDED = [(1, 0.3), (1, 0.3), (1, 0.3), (2, 0.3), (-1, 0.0), (-1, 0.0), (-1, 0.0), (None, None)]
ADAPTIVE, DECIDE = "adaptive:tolerance=2%,pilot=100", "decide:radius=0.3"
