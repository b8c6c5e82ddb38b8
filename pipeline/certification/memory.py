"""Memory-based certification (Alfarra et al., Data dependent randomized smoothing, algorithm 3 and appendix C).

A classifier that remembers its answers: each query is stored with its class and a ball around it, and balls of
different classes are disjoint. A query inside a ball of another class is answered with that class, and its own ball
shrinks to what lies inside both; elsewhere it shrinks until it meets no ball of another class. Every later query inside
a stored ball therefore gets the class of that ball.

That is all that it says. It says nothing of points that were seen before, it depends on the order of the queries, and
it holds for any radii at all: neither smoothing nor alpha plays a part in it.

Where the published code differs: it takes R_i - dist for the ball of a query inside the ball i even where that is
larger than the query's own, and stores abstentions as a class with balls of radius 0, which shrink those of others.
Here the ball is inside both, as in the paper, and an abstention is not stored. An abstaining query inside a ball gets
its class too, with radius 0: otherwise the statement about later queries would be false.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raysmooth.common.late_imports import LateModule
from raysmooth.pipeline.certification.certificate import ABSTAIN

distance = LateModule("scipy.spatial.distance")  # takes a fifth of a second to import

METRICS: Mapping[str, str] = {"l2": "euclidean", "l1": "cityblock", "linf": "chebyshev"}
"""SciPy's names of the distances, by the norm of the radii."""

_ROWS, _NUMBERS = 256, 2**24
"""The most images in a block of distances, and the most coordinates that all of them have together."""


@dataclass(frozen=True)
class Remembered:
    """The answers of the classifier with a memory: `classes` int64 (N,), ABSTAIN where it abstains, and `radii` float64
    (N,), in the order of the queries.
    """

    classes: np.ndarray
    radii: np.ndarray


def remember(centres: np.ndarray, radii: np.ndarray, classes: np.ndarray, norm: str) -> Remembered:
    """The answers to N queries in their order, from those that each image has by itself.

    `centres` (N, D) are the images in pixel units, in any float type; `radii` float64 (N,) >= 0 in the `norm`, an entry
    of METRICS; `classes` int64 (N,), ABSTAIN for an abstention. No radius is rounded up: distances are computed in
    float64 and taken with their rounding error, at most (D + 4) 2^-52 of them, to the safe side. So a query exactly on
    the sphere of a ball of another class gets radius 0. Distances of 256 images to those before them are held at a
    time, never all N x N.
    """
    given, found = classes.astype(np.int64), classes.astype(np.int64)
    own, reach = np.where(given == ABSTAIN, -np.inf, radii), np.zeros(len(given))
    count, size = centres.shape
    rows = max(1, min(_ROWS, _NUMBERS // size))
    error = (size + 4) * 2.0**-52
    for first in range(0, count, rows):
        last = min(first + rows, count)
        between = np.empty((last - first, last))
        queries = centres[first:last].astype(np.float64)
        for start in range(0, last, rows):
            earlier = centres[start : min(start + rows, last)].astype(np.float64)
            between[:, start : start + len(earlier)] = distance.cdist(queries, earlier, METRICS[norm])
        for place in range(first, last):
            apart = between[place - first, :place]
            # Balls only shrink, so that no other one can meet this one. Abstentions are not stored.
            near = np.flatnonzero(apart * (1 - 2 * error) <= radii[place] + own[:place])
            nearest, farthest = apart[near] * (1 - error), apart[near] * (1 + error)
            answer = _answer(int(given[place]), float(radii[place]), nearest, farthest, found[near], reach[near])
            found[place], reach[place] = answer
            meets = (farthest * (1 + error) < reach[near] + reach[place]) & (found[near] != found[place])
            assert given[place] == ABSTAIN or not meets.any(), f"the ball of query {place} meets one of another class"
    return Remembered(found, reach)


def _answer(
    own: int, radius: float, nearest: np.ndarray, farthest: np.ndarray, classes: np.ndarray, reach: np.ndarray
) -> tuple[int, float]:
    """The class and radius of one query: `own` and `radius` by itself, and the stored balls by their distances, between
    `nearest` and `farthest`, their classes and their radii `reach`, each (M,).
    """
    other = classes != own
    if not other.any():
        return own, radius
    depths = np.where(other, np.nextafter(reach - farthest, -np.inf), -np.inf)
    if depths[deepest := int(np.argmax(depths))] > 0:
        return int(classes[deepest]), min(radius, float(depths[deepest]))
    room = np.nextafter(np.min((nearest - reach)[other]), -np.inf)
    return own, min(radius, max(0.0, float(room)))
