"""Certificates of several noise levels at once: by independent computations, by exact probabilities in one dimension,
and by the probability that they are wrong.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from examples import examples, repeats
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom, norm
from statsmodels.stats.proportion import proportion_confint

from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.actors.noise.streams import Gaussian, NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import ABSTAIN, RUNNER_UP, certify_runner_up
from raysmooth.pipeline.certification.several_levels import (
    LIPSCHITZ,
    Level,
    can_certify_envelope,
    certify_envelope,
    certify_worst,
    envelope_radius,
    refuse_not_lipschitz,
)


def level(noise: NoiseFamily, selection: list[int], estimation: list[int], rejecting: bool = False) -> Level:
    return Level(noise, np.array(selection), np.array(estimation), rejecting)


def low(count: int, n: int, alpha: float) -> float:
    return float(proportion_confint(count, n, alpha=2 * alpha, method="beta")[0])


def high(count: int, n: int, alpha: float) -> float:
    return float(proportion_confint(count, n, alpha=2 * alpha, method="beta")[1])


def test_an_envelope_by_an_independent_computation() -> None:
    levels = [
        level(Gaussian(0.25), [95, 5, 0], [900, 60, 40]),
        level(Gaussian(0.5), [80, 15, 5], [800, 150, 50]),
        level(Gaussian(1.0), [40, 30, 30], [380, 320, 300]),
    ]
    found, part = certify_envelope(levels, 0.006), 0.001
    lows = [s * norm.ppf(low(c, 1000, part)) for s, c in ((0.25, 900), (0.5, 800), (1.0, 380))]
    highs = [s * norm.ppf(high(c, 1000, part)) for s, c in ((0.25, 60), (0.5, 150), (1.0, 320))]
    assert np.argmax(lows) == 1  # neither the smallest noise nor the largest
    assert np.argmax(highs) == 2
    expected = (max(lows) - max(highs)) / 2
    assert (found.prediction, found.level) == (0, 1)
    assert found.radius == pytest.approx(expected, rel=1e-10)
    # The same with levels that would each certify less, and one that would certify nothing at all.
    assert certify_runner_up(levels[2].chosen, levels[2].kept, levels[2].noise, 0.002).prediction == ABSTAIN
    assert certify_worst(levels, 0.006).prediction == ABSTAIN


def test_uniform_noise_by_hand() -> None:
    """2 lambda (p - 1/2) of both bounds; lambda is 1 and 2. With m = 2 and alpha = 0.004 each bound has 0.001."""
    noises = [noise_family("uniform", width / np.sqrt(3)) for width in (1.0, 2.0)]
    levels = [level(noises[0], [10, 0], [98, 2]), level(noises[1], [9, 1], [80, 20])]
    lows = [2 * (low(98, 100, 0.001) - 0.5), 4 * (low(80, 100, 0.001) - 0.5)]
    found = certify_envelope(levels, 0.004)
    assert found.radius == pytest.approx((max(lows) - max(-low for low in lows)) / 2, rel=1e-9)
    assert found.level == (0 if lows[0] > lows[1] else 1)


def test_the_class_is_that_of_the_largest_score_of_the_selection_draws() -> None:
    """Both levels have a class with all selection draws: the larger sigma has the larger score. Ties go to the lowest
    class, as in CERTIFY.
    """
    far, near = Gaussian(1.0), Gaussian(0.25)
    assert certify_envelope([level(near, [20, 0], [0, 900]), level(far, [0, 20], [0, 900])], 0.01).prediction == 1
    assert certify_envelope([level(near, [20, 0], [900, 0]), level(far, [0, 20], [900, 0])], 0.01).prediction == ABSTAIN
    assert certify_envelope([level(far, [10, 10], [900, 0]), level(far, [10, 10], [900, 0])], 0.01).prediction == 0


def test_a_level_of_which_nothing_is_known_abstains() -> None:
    known = level(Gaussian(0.5), [20, 0], [900, 0])
    assert certify_envelope([known, level(Gaussian(1.0), [20, 0], [0, 0])], 0.01).prediction == ABSTAIN
    assert certify_envelope([known], 0.01).prediction == 0


def test_rejected_draws_compete_with_no_class() -> None:
    """Six labels: three classes, kept and rejected. The shares are of all draws, the upper bounds of kept counts."""
    levels = [
        level(Gaussian(0.5), [30, 2, 0, 8, 0, 0], [600, 30, 20, 350, 0, 0], True),
        level(Gaussian(1.0), [20, 15, 0, 5, 0, 0], [450, 400, 10, 140, 0, 0], True),
    ]
    found = certify_envelope(levels, 0.004)
    lows = [s * norm.ppf(low(c, 1000, 0.001)) for s, c in ((0.5, 600), (1.0, 450))]
    highs = [s * norm.ppf(high(c, 1000, 0.001)) for s, c in ((0.5, 30), (1.0, 400))]
    assert found.radius == pytest.approx((max(lows) - max(highs)) / 2, rel=1e-10)
    nothing = level(Gaussian(0.5), [0, 0, 0, 40, 0, 0], [900, 0, 0, 100, 0, 0], True)
    assert certify_envelope([nothing, nothing], 0.01).prediction == ABSTAIN


COUNTS = st.lists(st.integers(0, 400), min_size=3, max_size=3).filter(lambda counts: sum(counts) > 0)
LEVELS = st.lists(st.tuples(st.sampled_from([0.12, 0.25, 0.5, 1.0]), COUNTS, COUNTS), min_size=1, max_size=4)


@examples(60)
@given(COUNTS, COUNTS, st.sampled_from(["l2", "linf", "l1"]), st.floats(1e-4, 0.3))
def test_one_level_gives_the_radius_of_the_runner_up(
    selection: list[int], estimation: list[int], name: str, alpha: float
) -> None:
    noise = noise_family("uniform" if name == "l1" else "gaussian", 0.5, name, 784)
    old = certify_runner_up(np.array(selection), np.array(estimation), noise, alpha)
    new = certify_envelope([level(noise, selection, estimation)], alpha)
    assert new.radius == pytest.approx(old.radius, rel=1e-12, abs=1e-14)
    assert new.radius <= old.radius
    assert new.prediction == old.prediction or old.radius < 1e-14


@examples(60)
@given(LEVELS, st.floats(1e-4, 0.3))
def test_the_order_of_levels_and_a_level_twice_change_nothing(
    given_: list[tuple[float, list[int], list[int]]], alpha: float
) -> None:
    levels = [level(Gaussian(sigma), *counts) for sigma, *counts in given_]
    found, back = certify_envelope(levels, alpha), certify_envelope(levels[::-1], alpha)
    assert (found.prediction, found.radius) == (back.prediction, back.radius)
    twice = certify_envelope(levels * 2, 2 * alpha)
    assert (twice.prediction, twice.radius) == (found.prediction, found.radius)


@examples(60)
@given(LEVELS, st.floats(1e-4, 0.2))
def test_another_level_raises_both_scores_at_the_same_alpha_for_each_bound(
    given_: list[tuple[float, list[int], list[int]]], alpha: float
) -> None:
    """So what was certified stays: the class keeps its score, and only a real rival of the new level comes nearer."""
    noises = [Gaussian(sigma) for sigma, *_ in given_]
    counts = [np.array(estimation) for *_, estimation in given_]
    lower = [low(int(own[0]), int(own.sum()), alpha) for own in counts]
    upper = [high(int(own[1:].max()), int(own.sum()), alpha) for own in counts]
    radius, place = envelope_radius(noises, lower, upper)
    fewer, _ = envelope_radius(noises[:-1], lower[:-1], upper[:-1]) if len(noises) > 1 else (radius, 0)
    if place != len(noises) - 1:
        assert radius <= fewer
    silent, _ = envelope_radius([*noises, Gaussian(1.0)], [*lower, 0.0], [*upper, 0.0])
    assert silent in (radius, 0.0)


@examples(60)
@given(LEVELS, st.floats(1e-4, 0.3))
def test_the_worst_level_is_never_above_the_envelope_of_the_same_bounds(
    given_: list[tuple[float, list[int], list[int]]], alpha: float
) -> None:
    levels = [level(Gaussian(sigma), *counts) for sigma, *counts in given_]
    worst, envelope = certify_worst(levels, alpha, RUNNER_UP, 0.5), certify_envelope(levels, alpha)
    each = [certify_runner_up(one.chosen, one.kept, one.noise, alpha / len(levels)) for one in levels]
    if worst.prediction != ABSTAIN:
        assert worst.radius == min(one.radius for one in each)
        assert {one.prediction for one in each} == {worst.prediction} == {envelope.prediction}
        assert worst.radius <= envelope.radius * (1 + 1e-12)
    else:
        assert len({one.prediction for one in each} | {ABSTAIN}) > 2 or ABSTAIN in {one.prediction for one in each}


def test_hopeless_numbers_of_draws_and_families_without_proof() -> None:
    noises = [Gaussian(0.25), Gaussian(1.0)]
    assert can_certify_envelope(noises, [1000, 1000], 0.001)
    assert not can_certify_envelope(noises, [1000, 5], 0.001)
    best = certify_envelope([level(noise, [9, 0], [n, 0]) for noise, n in zip(noises, (1000, 5), strict=True)], 0.001)
    assert best.prediction == ABSTAIN
    assert {(name, own) for name, entry in NOISES.items() for own in entry.norms} == LIPSCHITZ
    with pytest.raises(RaysmoothError, match=r"^--envelope: there is no certificate for laplace noise and l1 radii"):
        refuse_not_lipschitz("laplace", "l1")


# Exact probabilities in one dimension: classifiers of a number that are constant between `edges`.


@dataclass(frozen=True)
class Steps:
    """Class `classes[i]` between edges i - 1 and i: edges (E,), classes (E + 1,)."""

    edges: np.ndarray
    classes: np.ndarray

    def probabilities(self, points: np.ndarray, noise: NoiseFamily, number: int) -> np.ndarray:
        """Of each of `number` classes at each point, (number, P)."""
        ends = np.concatenate([[-np.inf], self.edges, [np.inf]])[:, None] - points
        if noise.name == "uniform":
            width = np.sqrt(3) * noise.scale
            between = np.diff(np.clip((ends + width) / (2 * width), 0, 1), axis=0)
        else:  # in the tail where the difference loses nothing
            start, end = ends[:-1] / noise.scale, ends[1:] / noise.scale
            between = np.where(start > 0, ndtr(-start) - ndtr(-end), ndtr(end) - ndtr(start))
        return np.stack([between[self.classes == label].sum(axis=0) for label in range(number)])


def random_steps(rng: np.random.Generator, number: int) -> Steps:
    edges = np.sort(rng.uniform(-3, 3, rng.integers(1, 7)))
    return Steps(edges, rng.integers(0, number, len(edges) + 1))


def pairs_and_violations(points: np.ndarray, radii: np.ndarray, classes: np.ndarray) -> tuple[int, int]:
    """Pairs of different points of which one is certified as far as the other, and those with different classes. A
    millionth of a radius is left to the rounding of probabilities near 1: of half-lines the radii are exact.
    """
    apart = np.abs(points[:, None] - points)
    inside = (apart < radii[:, None] * (1 - 1e-6) - 1e-8) & (apart > 0)
    return int(inside.sum()), int((inside & (classes[:, None] != classes)).sum())


def scores(noise: NoiseFamily, probabilities: np.ndarray) -> np.ndarray:
    """As the module has them, of all classes (C, P), computed here."""
    if noise.name == "uniform":
        return 2 * np.sqrt(3) * noise.scale * (probabilities - 0.5)
    others = np.stack([np.delete(probabilities, label, axis=0).sum(axis=0) for label in range(len(probabilities))])
    return np.where(probabilities < 0.5, ndtri(probabilities), -ndtri(others)) * noise.scale


@pytest.mark.parametrize("name", ["gaussian", "uniform"])
def test_no_exact_certificate_is_wrong_in_one_dimension(name: str) -> None:
    """Of the envelope, of the worst level, and of the certified selector, whose radius is the smaller one of those of
    the level and of the class. In every other case each level has a classifier of its own. Half of the points lie just
    inside of the radii of the others.
    """
    rng, number, noises = np.random.default_rng(7), 3, [noise_family(name, sigma) for sigma in (0.25, 0.5, 1.0)]
    checked, wrong = np.zeros(3, int), np.zeros(3, int)
    for case in range(max(20, repeats(40))):
        bases, chooser = [random_steps(rng, number) for _ in noises], random_steps(rng, len(noises))
        bases = bases if case % 2 else bases[:1] * len(noises)
        points = rng.uniform(-4, 4, 24)
        radii, _ = exact(noises, bases, chooser, noises[1], points)
        near = radii * (1 - 2e-6)
        points = np.clip(np.concatenate([points, *(points + near), *(points - near)]), -6, 6)
        radii, classes = exact(noises, bases, chooser, noises[1], points)
        classes[1] = rng.permuted(classes[1:4], axis=0)[0]  # any level, at random
        for way, own in enumerate((0, 1, 4)):
            pairs, bad = pairs_and_violations(points, radii[way], classes[own])
            checked[way] += pairs
            wrong[way] += bad
    assert (checked > 10_000).all(), checked
    assert not wrong.any()


def exact(
    noises: list[NoiseFamily], bases: list[Steps], chooser: Steps, its: NoiseFamily, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Radii of the envelope, the worst level and the selector, whose noise is `its`, (3, P), by probabilities that are
    exact but for 1e-9 (1 would give infinite radii); and the classes of the envelope, of each level, and of the level
    that the selector chooses, (levels + 2, P).
    """
    answers = np.stack([base.probabilities(points, own, 3) for base, own in zip(bases, noises, strict=True)])
    total = np.max([scores(own, p) for own, p in zip(noises, answers, strict=True)], axis=0)
    choice = chooser.probabilities(points, its, len(noises))
    levels, tops, places = choice.argmax(axis=0), answers.argmax(axis=1), range(len(points))
    classes = np.stack([total.argmax(axis=0), *tops, tops[levels, places]])
    radii = np.zeros((3, len(points)))
    for i in places:
        own = answers[:, :, i]
        rivals = np.maximum(np.delete(own, classes[0, i], axis=1).max(axis=1), 1e-9)
        radii[0, i], _ = envelope_radius(noises, np.minimum(own[:, classes[0, i]], 1 - 1e-9), rivals)
        each = [radius(noise, p) for noise, p in zip(noises, own, strict=True)]
        radii[1, i] = min(each) if len(set(tops[:, i])) == 1 else 0.0
        radii[2, i] = min(radius(its, choice[:, i]), each[levels[i]])
    return radii, classes


def radius(noise: NoiseFamily, probabilities: np.ndarray) -> float:
    """Of the likeliest class."""
    other, top = np.sort(probabilities)[-2:]
    return noise.radius(min(top, 1 - 1e-9), max(other, 1e-9))


def ascended(base: Steps, point: float) -> tuple[float, int, float]:
    """The level that 4,000 steps of 0.001 find at a point from 0.12, by exact probabilities and slopes (algorithm 1 of
    the paper), the class there and its radius.
    """

    def gap(sigma: float) -> float:
        p = np.clip(np.sort(base.probabilities(np.array([point]), Gaussian(sigma), 2)[:, 0]), 0.02, 0.98)
        return float(ndtri(p[1]) - ndtri(p[0])) * sigma / 2

    sigma = 0.12
    for _ in range(4000):
        sigma += 1e-3 * (gap(sigma + 1e-6) - gap(sigma - 1e-6)) / 2e-6
    p = base.probabilities(np.array([point]), Gaussian(sigma), 2)[:, 0]
    return sigma, int(p.argmax()), Gaussian(sigma).radius(p.max())


def test_a_level_for_each_image_is_no_certificate_of_the_classifier_that_chooses_it() -> None:
    """1 on [-0.3, 0.3], else 0. At 1 the best level certifies class 0 as far as 1.7; at 0, one apart, the best level
    gives class 1. The sound ways hold at both, and say of each pair of points what is true.
    """
    base = Steps(np.array([-0.3, 0.3]), np.array([0, 1, 0]))
    (sigma, label, radius_at_one), (other_sigma, other_label, _) = ascended(base, 1.0), ascended(base, 0.0)
    assert (sigma, label, radius_at_one) == (pytest.approx(1.502, abs=0.002), 0, pytest.approx(1.711, abs=0.002))
    assert (other_sigma, other_label) == (pytest.approx(0.129, abs=0.002), 1)
    assert radius_at_one > 1.0  # so the claim "class 0 within the radius of 1" is false at 0
    noises: list[NoiseFamily] = [Gaussian(other_sigma), Gaussian(sigma)]
    points = np.concatenate([[0.0, 1.0], np.linspace(-3, 3, 601)])
    chooser = Steps(np.array([-0.6, 0.6]), np.array([1, 0, 1]))
    radii, classes = exact(noises, [base, base], chooser, noises[0], points)
    assert classes[:, :2].tolist() == [[0, 0], [1, 0], [0, 0], [1, 0]]  # at 0 the levels answer 1 and 0
    assert radii[0, 1] > 1.0  # the envelope answers 0 at both
    assert (radii[1, 0], radii[1, 1]) == (0.0, pytest.approx(0.7, abs=0.01))  # up to 0.3 the small level answers 1
    assert 0 < radii[2, 0] + radii[2, 1] <= 1.0  # the selector does so too, and its two balls do not meet
    for way, own in ((0, 0), (1, 1), (1, 2), (2, 3)):
        assert pairs_and_violations(points, radii[way], classes[own])[1] == 0
    assert pairs_and_violations(points, np.where(points == 1, radius_at_one, 0), classes[1])[1] > 0


# How often a certificate is wrong, by the probability of every outcome.


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.6), (0.9, 0.5), (0.97, 0.2)])
def test_the_envelope_is_wrong_at_most_as_often_as_alpha(first: float, second: float) -> None:
    """All counts of 20 draws at two levels with two classes. Wrong is a class that is not the envelope's, or a radius
    above the one that exact probabilities give; whichever class the selection draws chose.
    """
    alpha, n, noises, truth = 0.1, 20, [Gaussian(0.5), Gaussian(1.0)], np.array([first, second])
    for selected in (0, 1):
        exact = [truth, 1 - truth][selected]
        most = envelope_radius(noises, exact, 1 - exact)[0]
        wrong = 0.0
        for counts in product(range(n + 1), repeat=2):
            choice = [9, 0] if selected == 0 else [0, 9]
            levels = [level(noise, choice, [c, n - c]) for noise, c in zip(noises, counts, strict=True)]
            if certify_envelope(levels, alpha).radius > most:
                wrong += float(np.prod(binom.pmf(counts, n, truth)))
        assert wrong <= alpha


def test_both_certificates_of_the_same_draws_are_wrong_at_most_as_often_as_alpha() -> None:
    """Five classes at three levels, with correlated draws; the envelope's and the worst level's radius at once."""
    rng, alpha, trials = np.random.default_rng(3), 0.1, repeats(600)
    noises = [Gaussian(0.25), Gaussian(0.5), Gaussian(1.0)]
    truth = np.array([[0.6, 0.35, 0.05, 0, 0], [0.55, 0.15, 0.1, 0.1, 0.1], [0.4, 0.15, 0.15, 0.15, 0.15]])
    rivals = truth[:, 1:].max(axis=1)
    most = envelope_radius(noises, truth[:, 0], rivals)[0]
    least = min(noise.radius(*p) for noise, p in zip(noises, zip(truth[:, 0], rivals, strict=True), strict=True))
    wrong = certified = 0
    ends = truth.cumsum(axis=1)[:, :-1]
    for _ in range(trials):
        drawn = rng.random((2, 60))  # the same numbers at all levels
        levels = [
            level(noise, *(np.bincount(np.searchsorted(own, some), minlength=5).tolist() for some in drawn))
            for noise, own in zip(noises, ends, strict=True)
        ]
        envelope, worst = certify_envelope(levels, alpha), certify_worst(levels, alpha, RUNNER_UP, 0.5)
        certified += envelope.prediction == 0
        wrong += envelope.prediction > 0 or envelope.radius > most or worst.prediction > 0 or worst.radius > least
    assert wrong <= trials * alpha
    assert certified > 0
