"""Test sets whose truth is known: images of given pA, certified as CERTIFY does, many sets at once."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, binom, norm
from statsmodels.stats.proportion import proportion_confint

SETS = 2000
FALSE_ALARM = 1e-6


def most_failures(delta: float) -> float:
    """More failures in SETS test sets than this have probability below FALSE_ALARM, if each has at most delta."""
    return float(binom.ppf(1 - FALSE_ALARM, SETS, delta))


def bounds(n: int, alpha: float) -> np.ndarray:
    """Clopper-Pearson's lower bound of each count 0, ..., n, by statsmodels."""
    lower = proportion_confint(np.arange(n + 1), n, alpha=2 * alpha, method="beta")[0]
    lower[0] = 0.0
    return lower


def needed_count(n: int, alpha: float, p0: float) -> int:
    """The smallest count whose bound is p0 or more."""
    return int(np.argmax(bounds(n, alpha) >= p0))


def interval(certified: int, images: int, alpha: float = 0.001, delta: float = 0.05) -> tuple[float, float]:
    """The ends for truly certifiable, and for certified, images, by SciPy's beta distribution."""
    low = beta.ppf(delta / 2, certified, images - certified + 1) if certified else 0.0
    high = beta.ppf(1 - delta / 2, certified + 1, images - certified) if certified < images else 1.0
    return max(0.0, (low - alpha) / (1 - alpha)), high


def rows_of_counts(count: np.ndarray, n_used: np.ndarray | int, alpha: float, sigma: float = 0.5, **facts: Any) -> Any:
    """A run's rows, whose images' class got `count` of `n_used` estimation draws; all classes are right."""
    n_used = np.broadcast_to(n_used, count.shape)
    p_lower = proportion_confint(count, np.maximum(n_used, 1), alpha=2 * alpha, method="beta")[0]
    abstain = p_lower <= 0.5
    columns = {
        "run_id": "0123456789abcdef",
        "noise": "gaussian",
        "norm": "l2",
        "sigma": sigma,
        "sampling": "fixed",
        "n": int(n_used.max()),
        "alpha": alpha,
        "images": len(count),
        "image_id": np.arange(len(count)),
        "label": 1,
        "prediction": np.where(abstain, -1, 1),
        "abstain": abstain,
        "correct": ~abstain,
        "radius": np.where(abstain, 0.0, sigma * norm.ppf(p_lower)),
        "p_lower": p_lower,
        "count_top": count,
        "n_used": n_used,
        "status": "ok",
    }
    return pd.DataFrame(columns | facts)
