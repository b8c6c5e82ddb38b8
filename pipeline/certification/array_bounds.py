"""Bounds and radii of many certificates at once, to compare stored rows with. It imports no torch, as reports do not.

The certificates themselves come from `certificate` and the noise families; a test holds that both agree.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import numpy as np
from scipy.special import betaincinv, ndtri

Radii = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Radii, float64 (N,), of sigma, of pA and of the bound on every other class, each (N,)."""


def _gaussian_l2(sigma: np.ndarray, p_top: np.ndarray, p_other: np.ndarray) -> np.ndarray:
    return np.asarray(sigma * (ndtri(p_top) - ndtri(p_other)) / 2)


def _uniform_l1(sigma: np.ndarray, p_top: np.ndarray, p_other: np.ndarray) -> np.ndarray:
    return np.asarray(sqrt(3) * sigma * (p_top - p_other))


RADII: Mapping[tuple[str, str], Radii] = {("gaussian", "l2"): _gaussian_l2, ("uniform", "l1"): _uniform_l1}
"""By noise and norm."""

AT_MOST: Mapping[tuple[str, str], Radii] = {**RADII, ("gaussian", "linf"): _gaussian_l2}
"""No radius is larger. (That in linf is the l2 radius divided by the root of the image's size.)"""

_MOST_DRAWS, _MOST_KEPT = 200_000, 32
_kept: dict[tuple[int, float], np.ndarray] = {}
"""The bounds of all counts that came up so far, by n and alpha: runs of a report mostly share these."""


def lower_bounds(count: np.ndarray, n: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`certificate.lower_bound` of each count; int (N,), int (N,), float64 (N,), counts at most n. 0 where n is 0."""
    bounds = np.zeros(len(count))
    for level in np.unique(alpha):
        own = alpha == level
        one = n[own][0]
        if 0 < one <= _MOST_DRAWS and (n[own] == one).all():
            bounds[own] = _of_one(count[own], int(one), float(level))
            continue
        pairs, place = np.unique(np.stack([count[own], n[own]]), axis=1, return_inverse=True)
        some = pairs[0] > 0
        found = np.zeros(pairs.shape[1])
        found[some] = betaincinv(pairs[0][some], pairs[1][some] - pairs[0][some] + 1, level)
        bounds[own] = found[place.ravel()]
    return bounds


def upper_bounds(count: np.ndarray, n: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`certificate.upper_bound` of each count, by the bound of all other draws; arguments as in `lower_bounds`."""
    return np.asarray(1 - lower_bounds(n - count, n, alpha))


def shares_of(share: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fractions of alpha of pA's bound and of the bound on every other class, (N,) each. `share` is the row's, NaN
    where it has none: then pA has all, or half where the other classes have a bound of their own (`splits`).
    """
    top = np.where(np.isnan(share), np.where(splits, 0.5, 1.0), share)
    return top, 1 - top


def _of_one(count: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """The bounds of counts of the same number of draws."""
    if (n, alpha) not in _kept and len(_kept) >= _MOST_KEPT:
        _kept.clear()
    known = _kept.setdefault((n, alpha), np.concatenate([[0.0], np.full(n, np.nan)]))
    wanted = np.unique(count)
    new = wanted[np.isnan(known[wanted])]
    known[new] = betaincinv(new, n - new + 1, alpha)
    return np.asarray(known[count])
