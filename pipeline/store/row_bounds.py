"""Whether the bounds and radii of rows are those that their counts, n, alpha and sigma give."""

from collections.abc import Iterator

import numpy as np

from raysmooth.pipeline.certification.array_bounds import AT_MOST, RADII, lower_bounds, shares_of, upper_bounds
from raysmooth.pipeline.certification.certificate import REJECTION
from raysmooth.pipeline.store.row_columns import DECIDE, Columns, Rule
from raysmooth.pipeline.store.sigma_rules import class_share, envelope_levels, is_certified_rule

_CLOSE = 1e-6
"""Relative difference of radii and bounds that rounding, and other versions of SciPy, may make."""


def bounds_of_rows(columns: Columns, num_classes: int | None) -> Iterator[Rule]:
    """Bounds and radii by what their counts, n, alpha and sigma give."""
    if not columns.has("radius", "noise", "norm", "sigma"):
        return
    if levels := envelope_levels(columns.sigma_rule):
        yield from _envelope_bounds(columns, levels)
        return
    radius, sigma, alpha = columns.numbers("radius"), columns.levels, columns.numbers("alpha")
    if np.isnan(sigma[~columns.failed]).any():
        return
    # Half of it is the level's where that was certified too, and the smaller of the two radii is the row's.
    alpha, both = alpha * class_share(columns.sigma_rule), is_certified_rule(columns.sigma_rule)
    count, used = columns.numbers("count_top"), columns.numbers("n_used")
    place = (str(columns.fact("noise")), str(columns.fact("norm")))
    decided = DECIDE.fullmatch(str(columns.fact("sampling")))
    certified = ~columns.failed & ~columns.flags("abstain") if columns.has("abstain") else ~columns.failed
    if decided is not None:
        asked = float(decided[1])
        yield "radius", certified & (radius != asked), f"{asked:g}, the radius that the run decides"
        return
    own_bound = columns.known("p_upper")
    counted = ~np.isnan(count) & ~np.isnan(used) & ~np.isnan(alpha)
    of_top, of_others = shares_of(columns.numbers("alpha_share"), own_bound)
    level = alpha * of_top
    p_top = np.ones(len(columns))
    p_top[counted] = lower_bounds(count[counted].astype(int), used[counted].astype(int), level[counted])
    n = columns.numbers("n")
    planned = ~counted & ~np.isnan(n) & ~np.isnan(alpha)
    p_top[planned] = level[planned] ** (1 / n[planned])
    p_upper = columns.numbers("p_upper")
    if own_bound.any():
        exact = columns.equals("noise_bound", REJECTION)
        rejected = np.nan_to_num(columns.numbers("count_rejected"))
        for high, count_other in enumerate(_other_counts(count, used - count - rejected, exact, num_classes)):
            bound = np.ones(len(columns)) if high else np.zeros(len(columns))
            here = own_bound & counted & (used > 0)
            others = upper_bounds(count_other[here].astype(int), used[here].astype(int), (alpha * of_others)[here])
            bound[here] = np.minimum(others, 1 - p_top[here])
            wrong = p_upper > bound * (1 + _CLOSE) if high else p_upper < bound * (1 - _CLOSE)
            yield "p_upper", own_bound & wrong, bound
    p_other = np.where(own_bound, np.minimum(p_upper, 1 - p_top), 1 - p_top)
    if columns.has("p_lower"):
        known = counted & ~columns.failed
        yield "p_lower", known & ~_close(columns.numbers("p_lower"), p_top), p_top
    if columns.has("abstain"):
        unsure = (p_top < p_other - _CLOSE) & counted
        yield "abstain", certified & unsure, "true, as its counts show no class"
        sure = counted & ~columns.failed & ~certified & (p_top > p_other + _CLOSE)
        yield "abstain", sure & (not both), "false, by its counts"
    if place not in AT_MOST:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.maximum(AT_MOST[place](sigma, p_top, p_other), 0.0)
    most[~np.isfinite(most)] = 1e300  # any radius is below it
    # Rows of logs and of other tools have radii that were rounded, up as often as down.
    slack = np.where(counted, most * _CLOSE + 1e-12, 0.005 * most + 0.005)
    yield "radius", certified & (radius > most + slack), most
    if place in RADII and not both:
        yield "radius", certified & counted & (radius < most - slack), most


def _envelope_bounds(columns: Columns, levels: tuple[float, ...]) -> Iterator[Rule]:
    """Radii of an envelope of `levels`, and the worst of them: at most that of the largest level if all draws agreed,
    since a mean of radii of bounds that share alpha / len(levels) is no larger than the radius at all of it.
    """
    n, alpha = columns.numbers("n"), columns.numbers("alpha")
    place = (str(columns.fact("noise")), str(columns.fact("norm")))
    if place not in AT_MOST:
        return
    with np.errstate(invalid="ignore"):
        p_top = (alpha / len(levels)) ** (1 / n)
    most = np.maximum(AT_MOST[place](np.full(len(columns), max(levels)), p_top, 1 - p_top), 0.0)
    for name in ("radius", "worst_radius"):
        if columns.has(name):
            yield name, ~columns.failed & (columns.numbers(name) > most * (1 + _CLOSE) + 1e-12), most


def _other_counts(
    top: np.ndarray, others: np.ndarray, exact: np.ndarray, num_classes: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most draws from which the other classes were bounded: where `exact` all `others`, elsewhere
    those of the most frequent one of the classes that share them.
    """
    # Where no selection draw was kept, all classes share them, and the count of the class is 0.
    sharing = np.inf if num_classes is None else np.where(top > 0, num_classes - 1, num_classes)
    return np.where(exact, others, np.ceil(others / sharing)), others


def _close(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(values - expected) <= _CLOSE * np.abs(expected) + 1e-12)
