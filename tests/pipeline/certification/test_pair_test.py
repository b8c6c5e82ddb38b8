"""Decisions at one radius with a bound of their own on the other classes: their errors, exactly and by simulation."""

from functools import cache
from math import inf, log

import numpy as np
import pytest
from examples import repeats
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import binom, norm

from raysmooth.actors.noise.families import Uniform, noise_family
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate
from raysmooth.pipeline.certification.pair_test import (
    DecideByPairs,
    decision_test,
    log_evidence_above,
    log_evidence_below,
)
from raysmooth.pipeline.certification.sampling_rule import Counts
from raysmooth.pipeline.certification.sequential_test import (
    CERTIFIED,
    NOT_CERTIFIED,
    UNDECIDED,
    Decide,
    evidence_above,
    evidence_below,
)

SELECTED = np.array([50, 10, 0, 40, 0, 0])
"""Of three classes: 50 draws of class 0 and 10 of class 1 were kept, 40 of class 0 rejected."""


def counts_of(top: int, largest: int, rest: int, rejected: int, selection: np.ndarray = SELECTED) -> Counts:
    return {Role.SELECTION: selection, Role.ESTIMATION: np.array([top, largest, rest, 0, rejected, 0])}


def boundary(radius: float, rejected: list[float], sigma: float = 1.0) -> list[tuple[float, float, float]]:
    """pA, pB and pR of images with two kept classes, certified at just that radius: PhiInv(pA) = PhiInv(pB) + 2 r."""
    found = []
    for share in rejected:
        low, high = 0.0, (1 - share) / 2
        for _ in range(80):
            other = (low + high) / 2
            top = norm.cdf(norm.ppf(other) + 2 * radius / sigma)
            low, high = (low, other) if top + other > 1 - share else (other, high)
        found.append((1 - share - other, other, share))
    return found


def test_errors_after_one_look_exactly() -> None:
    """By all counts of 40 draws of two kept classes and rejected ones, of images whose radius is just the one asked."""
    n, alpha = 40, 0.3
    rule = DecideByPairs(100, n, alpha, Gaussian(1.0), 0.4, True)
    outcomes = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    right = np.array([rule.decision(counts_of(a, b, 0, r)) == CERTIFIED for a, b, r in outcomes.tolist()])
    assert right.any()
    ways = gammaln(n + 1) - gammaln(outcomes + 1).sum(axis=1)
    worst = 0.0
    for p in boundary(0.4, [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]):
        chances = np.exp(ways + outcomes @ np.log(np.maximum(p, 1e-300)))
        assert chances.sum() == pytest.approx(1)
        worst = max(worst, float(chances[right].sum()))
    assert 0 < worst <= alpha


@pytest.mark.parametrize(
    "p",
    [*boundary(0.4, [0.4]), (0.424, 0.0, 0.0)],
    ids=["many rejected", "several classes behind"],
)
def test_errors_after_many_looks_by_simulation(p: tuple[float, float, float]) -> None:
    """Of images whose radius is just the one asked at most alpha are certified, in looks at 100, 144, ... 400 draws. In
    the last case two classes are as likely as each other, and nothing is rejected.
    """
    alpha, trials, noise = 0.3, repeats(200), Gaussian(1.0)
    odds = np.array([p[0], p[1], 0, 0, p[2], 0])
    if not p[1]:
        odds[1:3] = (1 - p[0]) / 2
    radius = (norm.ppf(odds[0]) - norm.ppf(odds[1])) / 2
    rule = DecideByPairs(100, 400, alpha, noise, float(radius), True)
    generator = np.random.default_rng(7)

    @cache
    def decide(selection: tuple[int, ...], estimation: tuple[int, ...]) -> str:
        return rule.decision({Role.SELECTION: np.array(selection), Role.ESTIMATION: np.array(estimation)})

    ended = {CERTIFIED: 0, NOT_CERTIFIED: 0, UNDECIDED: 0}
    for _ in range(trials):
        selection = tuple(generator.multinomial(100, odds).tolist())
        if selection[0] != max(selection[:3]):
            continue
        counts, need = np.zeros(6, int), 100
        while True:
            counts += generator.multinomial(need - counts.sum(), odds)
            decision = decide(selection, tuple(counts.tolist()))
            if decision != UNDECIDED or need == 400:
                break
            need = min(400, -(-need * 144 // 100))
        ended[decision] += 1
    assert ended[CERTIFIED] <= binom.ppf(1 - 1e-6, trials, alpha)


def test_a_class_with_less_than_half_of_the_draws_is_certified() -> None:
    """4,000 of 10,000 draws, 5,900 rejected: pA alone abstains, and the image has the radius 1.16 sigma."""
    rule = DecideByPairs(100, 10_000, 0.001, Gaussian(1.0), 0.7, True)
    counts = counts_of(4000, 50, 50, 5900)
    assert rule.conclude(counts) == Certificate(0, 0.7, 0.0, 4000, CERTIFIED, count_rejected=5900)
    alone = Decide(100, 10_000, 0.001, Gaussian(1.0), 0.7, True)
    assert alone.conclude(counts) == Certificate(ABSTAIN, 0.0, 0.0, 4000, NOT_CERTIFIED, count_rejected=5900)
    few = {role: own // 8 for role, own in counts.items()}
    assert rule.decision(few) == CERTIFIED
    theorem = DecideByPairs(100, 10_000, 0.001, Gaussian(1.0), 0.7, True, "rejection")
    assert theorem.decision(counts) == CERTIFIED
    assert theorem.decision(few) == UNDECIDED  # the theorem's bound counts both other classes
    # Far from the radius it is given up, and without any kept selection draw as well.
    assert rule.decision(counts_of(4000, 2500, 0, 3500)) == NOT_CERTIFIED
    nothing = counts_of(9000, 0, 0, 1000, np.array([0, 0, 0, 100, 0, 0]))
    assert rule.conclude(nothing) == Certificate(ABSTAIN, 0.0, 0.0, 0, NOT_CERTIFIED, count_rejected=1000)


def test_rounds_go_on_until_it_is_decided() -> None:
    rule = DecideByPairs(100, 1000, 0.001, Gaussian(1.0), 0.7, True)
    assert rule.first == {Role.SELECTION: 100, Role.ESTIMATION: 100}
    assert rule.next(counts_of(45, 3, 0, 52)) == {Role.SELECTION: 100, Role.ESTIMATION: 144}
    assert rule.next(counts_of(900, 0, 0, 0)) is None
    assert rule.next(counts_of(450, 30, 0, 520)) is None  # there are no more


@pytest.mark.parametrize("noise", [Gaussian(0.5), Uniform(0.5), noise_family("gaussian", 0.5, "linf", 3072)], ids=str)
def test_pairs_have_at_least_the_radius_and_the_smallest_such_pa(noise: Gaussian) -> None:
    radius = 0.002 if noise.norm == "linf" else 0.2
    rule = DecideByPairs(100, 10_000, 0.001, noise, radius)
    a, b = rule.pairs
    assert len(a) == len(b) == 64
    assert (np.diff(a) > 0).all()
    assert (np.diff(b) > 0).all()
    assert (a[-1], b[-1]) == (rule.p0, 1 - rule.p0)
    for top, other in zip(a[:-1], b[:-1], strict=True):
        assert noise.radius(top, other) >= radius
        assert noise.radius(top * (1 - 1e-9), other) < radius
    for count, other in ((50, 10), (0, 0), (100, 0), (30, 70)):
        weights = rule.weights(count, other, 100)
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= 1 / 128


def test_a_radius_beyond_float_precision_is_never_certified() -> None:
    rule = DecideByPairs(100, 10_000, 0.001, Gaussian(0.1), 5.0, True)
    assert rule.decision(counts_of(10_000, 0, 0, 0)) == UNDECIDED
    assert not rule.reaches(10**6, 5.0)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.001, 0.999))
def test_arrays_of_evidence_are_those_of_single_numbers(pair: tuple[int, int], p0: float) -> None:
    count, n = pair
    for array, single in ((log_evidence_above, evidence_above), (log_evidence_below, evidence_below)):
        found, expected = array(count, n, np.array([p0]))[0], single(count, n, p0)
        assert found == expected == -inf or found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_agreeing_draws_reach_a_radius_by_hand() -> None:
    """All agree: the last pair alone has evidence E of n agreeing draws, times its weight, of a half to a 128th."""
    rule, alone = (decision_test(100, 100, 0.001, Gaussian(0.25), 0.2, bound) for bound in ("runner-up", "complement"))
    assert type(alone) is Decide
    least = next(n for n in range(1, 200) if alone.reaches(n, 0.2))
    assert evidence_above(least, least, rule.p0) >= -log(0.001)
    assert not rule.reaches(least - 1, 0.2)
    enough = next(n for n in range(1, 400) if evidence_above(n, n, rule.p0) >= log(128 / 0.001))
    assert rule.reaches(enough, 0.2)
