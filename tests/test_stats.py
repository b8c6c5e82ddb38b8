"""`raysmooth.stats`: the examples in its docstrings, values by other computations, and the rows of a run."""

import doctest
import json
import os
import subprocess
import sys
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from base_classifiers import Linear
from conftest import REPOSITORY

import raysmooth
from raysmooth import RaysmoothError, stats

NORMAL = NormalDist()


def tail(count: int, n: int, p: float) -> float:
    """P(Binomial(n, p) >= count)."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count, n + 1))


def test_the_examples_are_right() -> None:
    found = doctest.testmod(stats)
    assert found.failed == 0
    assert found.attempted > 15


def test_every_function_has_an_example_or_needs_rows() -> None:
    functions = [getattr(stats, name) for name in stats.__all__ if name not in ("Interval", "holm_certified")]
    assert [one.__name__ for one in functions if ">>> " not in str(one.__doc__)] == []


@pytest.mark.parametrize(("count", "n", "alpha"), [(1, 1, 0.05), (17, 30, 0.001), (30, 30, 0.01), (3, 40, 0.1)])
def test_bounds_are_where_the_binomial_tail_is_alpha(count: int, n: int, alpha: float) -> None:
    low, high = stats.lower_bound(count, n, alpha), stats.upper_bound(count, n, alpha)
    assert tail(count, n, low) == pytest.approx(alpha, rel=1e-9)
    if count < n:
        assert 1 - tail(count + 1, n, high) == pytest.approx(alpha, rel=1e-9)
    assert stats.lower_bound(0, n, alpha) == 0
    assert stats.upper_bound(n, n, alpha) == 1


def test_radii_are_the_theorems() -> None:
    assert stats.radius(0.9, 0.25) == pytest.approx(0.25 * NORMAL.inv_cdf(0.9), rel=1e-12)
    expected = 0.125 * (NORMAL.inv_cdf(0.7) - NORMAL.inv_cdf(0.1))
    assert stats.radius(0.7, 0.25, p_upper=0.1) == pytest.approx(expected, rel=1e-12)
    assert stats.radius(0.9, 0.25, norm="linf", pixels=64) == pytest.approx(stats.radius(0.9, 0.25) / 8, rel=1e-12)
    assert stats.radius(0.9, 0.25, norm="linf", pixels=64) * 8 <= stats.radius(0.9, 0.25)
    assert stats.radius(0.9, 0.25, noise="uniform") == pytest.approx(2 * sqrt(3) * 0.25 * 0.4, rel=1e-7)
    assert stats.radius(0.9, 0.25, noise="uniform") <= 2 * sqrt(3) * 0.25 * 0.4
    for family in ({}, {"noise": "uniform"}, {"norm": "linf", "pixels": 3}):
        assert stats.radius(stats.needed_p_lower(0.1, 0.25, **family), 0.25, **family) >= 0.1  # type: ignore[arg-type]


def test_certificates_and_accuracies_are_those_of_a_run() -> None:
    images, labels = np.random.default_rng(0).random((8, 1, 8, 8), np.float32), [*range(8)]
    rows = raysmooth.certify_model(Linear(), images, labels, sigma=0.1, n=300, n0=30, progress=False)
    for row in rows.itertuples():
        counts = [row.n_used - row.count_top, row.count_top]
        assert stats.lower_bound(row.count_top, row.n_used) == row.p_lower
        certificate = stats.certify_counts([0, 1], counts, 0.1)
        assert certificate.radius == row.radius
        assert (certificate.prediction == -1) == row.abstain
    radii = [0.0, 0.05, 0.1]
    ours = stats.certified_accuracy(rows, radii)
    assert ours.tolist() == [np.mean(rows["correct"] & (rows["radius"] >= r)) for r in radii]
    assert ours.tolist() == stats.certified_accuracy(rows["radius"], radii, rows["correct"]).tolist()
    acr = stats.average_certified_radius(rows)
    assert acr == pytest.approx((rows["radius"] * rows["correct"]).mean(), rel=1e-12)
    assert acr == stats.average_certified_radius(rows["radius"], rows["correct"])
    certified = stats.holm_certified(rows, 0.05, delta=0.01)
    assert certified["holm"].tolist() == stats.holm(certified["p_value"], 0.01).tolist()
    assert (certified["alone"] == (rows["radius"] >= 0.05)).all()


def test_other_bounds_and_predictions_come_from_counts() -> None:
    plain = stats.certify_counts([90, 5, 5], [800, 100, 100], 0.25)
    split = stats.certify_counts([90, 5, 5], [800, 100, 100], 0.25, noise_bound="runner-up")
    assert split.radius > plain.radius > 0
    assert split.p_upper == stats.upper_bound(100, 1000, 0.0005)
    rejecting = stats.certify_counts([90, 5, 5], [800, 10, 10], 0.25, rejected=180)
    assert rejecting.count_rejected == 180
    assert rejecting.p_lower == stats.lower_bound(800, 1000, 0.0005)
    assert stats.predict_counts(np.array([3, 90, 7])).prediction == 1
    # 2 P(Binomial(10, 1/2) >= 9) = 22 / 1024
    assert stats.predict_counts([1, 9], alpha=0.05).p_value == pytest.approx(22 / 1024, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (lambda: stats.lower_bound(11, 10), "11 of 10: write a count from 0 to n"),
        (lambda: stats.lower_bound(1, 10, 0), "alpha 0: write a probability between 0 and 1"),
        (lambda: stats.radius(1.5, 0.25), "p_lower 1.5: write a probability"),
        (lambda: stats.radius(0.9, -1), "sigma must be a positive number, not -1: write sigma=0.25"),
        (lambda: stats.radius(0.9, 0.25, norm="linf"), "norm linf needs .* write pixels=3072"),
        (lambda: stats.radius(0.9, 0.25, noise="cauchy"), "unknown noise family 'cauchy'"),
        (lambda: stats.needed_p_lower(-1, 0.25), "radius -1: write 0 or more"),
        (lambda: stats.certify_counts([1, 2], [1, 2, 3], 0.25), "selection has 2 classes, estimation 3"),
        (lambda: stats.certify_counts([0.5, 2], [1, 2], 0.25), "selection: write how many draws each class has"),
        (lambda: stats.certified_accuracy([0.5], [0]), "give rows of certificates, or the radii"),
        (lambda: stats.holm([0.1], delta=2), "delta 2: write a probability"),
        (lambda: stats.accuracy_interval(3, 2), "3 of 2: write a count"),
        (lambda: stats.wrong_certificates_bound(0), "0 of 0: write a count"),
    ],
)
def test_refusals_are_one_line(call: Any, refusal: str) -> None:
    with pytest.raises(RaysmoothError, match=refusal):
        call()


PROGRAM = """
import json, sys
from raysmooth import stats
light = [name for name in ("torch", "ray", "scipy", "pandas", "numpy") if name in sys.modules]
stats.certify_counts([2, 98], [90, 9910], sigma=0.25)
stats.radius(0.9, 0.25, noise="uniform")
stats.average_certified_radius([0.5], correct=[True])
stats.holm([0.01])
stats.accuracy_interval(3, 5)
print(json.dumps([light, [name for name in ("torch", "ray") if name in sys.modules]]))
"""


@pytest.mark.processes
def test_it_loads_neither_torch_nor_ray() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]
