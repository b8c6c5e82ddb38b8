"""Whether the columns of top-k certificates can be a run's: they agree with each other, and with counts, n, alpha and
sigma. The certificates themselves come from `certification.top_k`; the check is by the condition that defines a radius,
not by the radius that solves it.
"""

from collections.abc import Callable, Iterator, Mapping
from math import sqrt

import numpy as np
from scipy.special import ndtr, ndtri

from raysmooth.pipeline.certification.array_bounds import lower_bounds, shares_of
from raysmooth.pipeline.certification.certificate import ABSTAIN, REJECTION
from raysmooth.pipeline.store.row_columns import Columns, Rule
from raysmooth.pipeline.store.sigma_rules import class_share, is_certified_rule

_CLOSE, _TINY = 1e-6, 1e-12

Excess = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Of radius, sigma, k, pL and the bound on any k other classes together, each (N,): what k times the class's least
probability at this distance has above the most of the others; float64 (N,). Negative beyond the radius.
"""


def _gaussian(
    radius: np.ndarray, sigma: np.ndarray, k: np.ndarray, p_top: np.ndarray, p_others: np.ndarray
) -> np.ndarray:
    shift = radius / sigma
    return np.asarray(k * ndtr(ndtri(p_top) - shift) - ndtr(ndtri(p_others) + shift))


def _uniform(
    radius: np.ndarray, sigma: np.ndarray, k: np.ndarray, p_top: np.ndarray, p_others: np.ndarray
) -> np.ndarray:
    shift = radius / (2 * sqrt(3) * sigma)
    return np.asarray(k * (p_top - shift) - (p_others + shift))


EXCESS: Mapping[str, Excess] = {"gaussian": _gaussian, "uniform": _uniform}
"""By noise, in its first norm; no radius in another norm is larger."""

_FIRST_NORMS = {("gaussian", "l2"), ("uniform", "l1")}

TOP_K_COLUMNS = ("prediction_top_k", "radius_top_k", "count_label", "label_radius_top_k")


def top_k_agreement(columns: Columns, num_classes: int | None) -> Iterator[Rule]:
    """Columns that say the same thing."""
    if not columns.has("top_k", "prediction", *TOP_K_COLUMNS):
        return
    fine = ~columns.failed
    asked, prediction, top = (columns.numbers(name) for name in ("top_k", "prediction", "prediction_top_k"))
    has_k, certified = columns.known("top_k"), top != ABSTAIN
    if num_classes is not None:
        yield "top_k", has_k & (asked >= num_classes), f"less than {num_classes}, the number of classes"
    for name in TOP_K_COLUMNS:
        yield name, ~has_k & columns.known(name), "none, as there is no top_k"
    of_run = has_k & fine
    yield "prediction_top_k", of_run & ~columns.known("prediction_top_k"), "a class or -1, as there is a top_k"
    yield "prediction_top_k", of_run & (prediction != ABSTAIN) & (top != prediction), "prediction, as it is certified"
    yield "radius_top_k", of_run & certified & ~columns.known("radius_top_k"), "a value, as prediction_top_k is a class"
    yield "radius_top_k", ~certified & columns.known("radius_top_k"), "none, as prediction_top_k is -1"
    if not columns.has("label", "count_top", "n_used"):
        return
    labelled, label = columns.known("label"), columns.numbers("label")
    yield "count_label", of_run & labelled & ~columns.known("count_label"), "a number, as there is a label"
    for name in ("count_label", "label_radius_top_k"):
        yield name, ~labelled & columns.known(name), "none, as there is no label"
    count, count_top, used = (columns.numbers(name) for name in ("count_label", "count_top", "n_used"))
    same = of_run & (top == label) & certified
    yield "count_label", same & (count != count_top), count_top
    yield "count_label", count > used, "at most n_used"
    yield "count_label", of_run & certified & (top != label) & (count + count_top > used), "at most n_used - count_top"


def top_k_bounds(columns: Columns, _: int | None) -> Iterator[Rule]:
    """Radii by what their counts give: no larger, and in the noise's first norm no smaller."""
    noise, norm = str(columns.fact("noise")), str(columns.fact("norm"))
    if not columns.has("top_k", "n_used", "alpha", *TOP_K_COLUMNS) or noise not in EXCESS:
        return
    k, sigma, used = columns.numbers("top_k"), columns.levels, columns.numbers("n_used")
    alpha = columns.numbers("alpha") * class_share(columns.sigma_rule)
    own_bound = columns.known("p_upper")
    of_top, _of_others = shares_of(columns.numbers("alpha_share"), own_bound)
    p_upper = columns.numbers("p_upper")
    together = p_upper if columns.equals("noise_bound", REJECTION).any() else k * p_upper
    is_exact = (noise, norm) in _FIRST_NORMS and not is_certified_rule(columns.sigma_rule)
    for name, count, level in (
        ("radius_top_k", columns.numbers("count_top"), alpha * of_top),
        ("label_radius_top_k", columns.numbers("count_label"), alpha),
    ):
        known = ~columns.failed & ~np.isnan(k) & ~np.isnan(count) & ~np.isnan(used) & ~np.isnan(level) & (sigma > 0)
        if not known.any():
            continue
        p_top = np.full(len(columns), 0.5)
        p_top[known] = lower_bounds(count[known].astype(int), used[known].astype(int), level[known])
        with np.errstate(invalid="ignore"):
            most = np.where(own_bound, np.fmin(together, 1 - p_top), 1 - p_top)
            others = most if name == "radius_top_k" else 1 - p_top
            radius = columns.numbers(name)
            has, inside = columns.known(name), np.maximum(radius * (1 - _CLOSE) - _TINY, 0.0)
            too_large = EXCESS[noise](inside, sigma, k, p_top, others) < -_TINY
            yield name, known & has & too_large, "a smaller radius, by its counts"
            if is_exact:
                too_small = EXCESS[noise](radius * (1 + _CLOSE) + _CLOSE * sigma, sigma, k, p_top, others) > _TINY
                yield name, known & has & too_small, "a larger radius, by its counts"
                missing = k * p_top > others * (1 + _CLOSE) + _CLOSE
                yield name, known & ~has & missing, "a radius, by its counts"
