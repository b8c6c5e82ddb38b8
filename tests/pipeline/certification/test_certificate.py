"""Certificates against worked numbers, against computations that share no code with ours, and against chance."""

from math import comb, log, sqrt

import numpy as np
import pytest
from examples import repeats
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, multinomial, norm
from statsmodels.stats.proportion import proportion_confint

from raysmooth.actors.noise.families import Uniform
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import (
    ABSTAIN,
    Certificate,
    certify_counts,
    certify_runner_up,
    largest_p_lower,
    lower_bound,
    predict_counts,
    refuse_hopeless_certify,
    refuse_hopeless_predict,
    upper_bound,
)

GRID = [
    (count, n, alpha)
    for n in (10, 100, 1000, 10_000, 100_000)
    for share in (0.0, 0.3, 0.5, 0.501, 0.6, 0.9, 0.99, 0.999, 1.0)
    for alpha in (0.05, 0.01, 0.001)
    for count in [round(n * share)]
]


@pytest.mark.parametrize(("count", "n", "alpha"), GRID)
def test_lower_bound_equals_statsmodels_and_inverts_the_binomial_tail(count: int, n: int, alpha: float) -> None:
    bound = lower_bound(count, n, alpha)
    theirs = proportion_confint(count, n, alpha=2 * alpha, method="beta")[0]
    assert bound == pytest.approx(0.0 if count == 0 else theirs, rel=1e-9, abs=1e-12)
    if count > 0:
        # Clopper-Pearson by its definition: the p at which count or more successes have probability alpha.
        root = brentq(lambda p: binom.sf(count - 1, n, p) - alpha, 1e-12, 1 - 1e-12, xtol=1e-14)
        assert bound == pytest.approx(root, rel=1e-7)


@pytest.mark.parametrize("sigma", [0.12, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(("count", "n", "alpha"), GRID)
def test_certificate_equals_an_independent_computation(count: int, n: int, alpha: float, sigma: float) -> None:
    selection, estimation = np.array([3, 90, 7]), np.array([n - count, count, 0])
    certificate = certify_counts(selection, estimation, Gaussian(sigma), alpha)
    p_lower = 0.0 if count == 0 else proportion_confint(count, n, alpha=2 * alpha, method="beta")[0]
    assert certificate.count_top == count
    if p_lower <= 0.5:
        assert (certificate.prediction, certificate.radius) == (ABSTAIN, 0.0)
    else:
        assert certificate.prediction == 1
        assert certificate.radius == pytest.approx(sigma * norm.ppf(p_lower), rel=1e-8)


def test_hand_computed_values() -> None:
    # All 1000 of 1000 draws agree at alpha = 0.001: pA = 0.001^(1/1000) = e^-0.0069077553 = 0.9931160;
    # Phi(2.46) = 0.993053 and Phi(2.47) = 0.993244 (tables), so PhiInv(pA) = 2.46 + 0.01 * 63/191 = 2.4633.
    certificate = certify_counts(np.array([0, 100]), np.array([0, 1000]), Gaussian(0.5), 0.001)
    assert certificate.p_lower == pytest.approx(0.9931160, abs=5e-8)
    assert certificate.radius == pytest.approx(0.5 * 2.4633, abs=1e-4)
    # One of one draw at alpha = 0.25: pA = 0.25, abstain. 3 of 3 at 1/64: pA = 1/4. 3 of 3 at 27/64: pA = 3/4.
    assert lower_bound(1, 1, 0.25) == pytest.approx(0.25)
    assert lower_bound(3, 3, 1 / 64) == pytest.approx(0.25)
    three = certify_counts(np.array([1, 0]), np.array([3, 0]), Gaussian(2.0), 27 / 64)
    assert three.p_lower == pytest.approx(0.75)
    assert three.radius == pytest.approx(2 * 0.6744897501960817)
    # 1 of 2 at alpha = 0.36: 1 - (1-p)^2 = 0.36, p = 0.2.
    assert lower_bound(1, 2, 0.36) == pytest.approx(0.2)


def test_the_class_comes_from_the_selection_draws_alone() -> None:
    # Estimation favours class 2, selection chose class 0, which the estimation draws do not support: abstain.
    certificate = certify_counts(np.array([60, 0, 40]), np.array([10, 0, 990]), Gaussian(1.0), 0.001)
    assert (certificate.prediction, certificate.radius, certificate.count_top) == (ABSTAIN, 0.0, 10)
    # Of equally frequent classes the lowest is selected, whatever the estimation draws say.
    assert certify_counts(np.array([50, 50]), np.array([1000, 0]), Gaussian(1.0), 0.001).prediction == 0


def test_radius_of_two_bounds() -> None:
    noise = Gaussian(0.5)
    assert noise.radius(0.9, 0.1) == pytest.approx(noise.radius(0.9))
    assert noise.radius(0.8, 0.05) == pytest.approx(0.25 * (norm.ppf(0.8) - norm.ppf(0.05)))
    assert noise.radius(0.3) == 0.0


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(1e-6, 0.4))
def test_lower_bound_is_below_the_observed_share_and_grows_with_the_count(pair: tuple[int, int], alpha: float) -> None:
    count, n = pair
    bound = lower_bound(count, n, alpha)
    assert 0.0 <= bound <= count / n
    assert bound <= lower_bound(min(n, count + 1), n, alpha)
    assert bound <= largest_p_lower(n, alpha) * (1 + 1e-12)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8, 0.99, 0.9995])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_coverage_over_simulated_certifications(p: float, alpha: float) -> None:
    """20,000 certifications with known pA: the bound exceeds the truth no more often than alpha, but for chance."""
    trials, n = 8_000, 1000
    generator = np.random.default_rng([round(p * 1e6), round(alpha * 1e6)])
    counts = generator.binomial(n, p, trials)
    bounds = {count: lower_bound(int(count), n, alpha) for count in np.unique(counts)}
    wrong = sum(bounds[count] > p for count in counts)
    # The number of wrong bounds is at most Binomial(trials, alpha): beyond its 1 - 1e-6 quantile is no chance.
    assert wrong <= binom.ppf(1 - 1e-6, trials, alpha)
    # And the exact error probability, by summing the binomial, no simulation at all.
    exact = sum(binom.pmf(k, n, p) for k in range(n + 1) if lower_bound(k, n, alpha) > p)
    assert exact <= alpha * (1 + 1e-9)


def test_certified_radius_is_below_the_true_one_in_whole_certifications() -> None:
    """Selection and estimation together, three classes: a wrong certificate is a radius above that of the true pA, or a
    class that is not the smoothed classifier's.
    """
    truth, noise, alpha, trials = np.array([0.25, 0.6, 0.15]), Gaussian(0.5), 0.01, repeats(8_000)
    generator = np.random.default_rng(5)
    selections, estimations = generator.multinomial(20, truth, trials), generator.multinomial(400, truth, trials)
    # A certificate depends on nothing but the selected class and its count.
    known: dict[tuple[int, int], Certificate] = {}
    results = []
    for selection, estimation in zip(selections, estimations, strict=True):
        key = (int(selection.argmax()), int(estimation[selection.argmax()]))
        if key not in known:
            known[key] = certify_counts(selection, estimation, noise, alpha)
        results.append(known[key])
    wrong = sum(
        r.prediction != ABSTAIN and (r.prediction != 1 or r.radius > 0.5 * norm.ppf(truth[r.prediction]))
        for r in results
    )
    assert wrong <= binom.ppf(1 - 1e-6, trials, alpha)
    assert sum(r.prediction == 1 for r in results) > 0.5 * trials


@pytest.mark.parametrize(
    ("counts", "alpha", "expected"),
    [
        ([0, 10], 0.01, 1),  # p = 2/1024 = 0.00195
        ([10, 0], 0.001, ABSTAIN),
        ([1, 9], 0.05, 1),  # p = 2 (1 + 10) / 1024 = 0.0215
        ([1, 9], 0.02, ABSTAIN),
        ([5, 5, 90], 0.001, 2),
        ([500, 500, 0], 0.05, ABSTAIN),
    ],
)
def test_predict_against_the_binomial_test_by_hand(counts: list[int], alpha: float, expected: int) -> None:
    prediction = predict_counts(np.array(counts), alpha)
    runner_up, top = sorted(counts)[-2:]
    n = top + runner_up
    by_hand = min(1.0, 2 * sum(comb(n, k) for k in range(top, n + 1)) / 2**n)
    assert prediction.p_value == pytest.approx(by_hand, rel=1e-9)
    assert prediction.prediction == expected
    assert prediction.count_top == top


@given(st.lists(st.integers(0, 400), min_size=2, max_size=12), st.floats(1e-4, 0.3))
def test_predict_follows_scipy(counts: list[int], alpha: float) -> None:
    prediction = predict_counts(np.array(counts), alpha)
    second, first = sorted(counts)[-2:]
    p_value = binomtest(first, first + second, 0.5, alternative="two-sided").pvalue if first else 1.0
    assert prediction.p_value == pytest.approx(p_value)
    assert (prediction.prediction == ABSTAIN) == (p_value > alpha)
    if prediction.prediction != ABSTAIN:
        assert counts[prediction.prediction] == max(counts)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.01, 0.001, 1e-6])
def test_hopeless_settings_are_refused_with_the_smallest_n_that_is_not(alpha: float) -> None:
    def accepted(check: object, n: int) -> bool:
        try:
            check(n, alpha)  # type: ignore[operator]
        except RaysmoothError:
            return False
        return True

    for check, possible in (
        (refuse_hopeless_certify, lambda n: lower_bound(n, n, alpha) > 0.5),
        (refuse_hopeless_predict, lambda n: binomtest(n, n, 0.5).pvalue <= alpha),
    ):
        smallest = next(n for n in range(1, 100) if possible(n))
        assert [n for n in range(1, 100) if accepted(check, n)] == list(range(smallest, 100))
        if smallest > 1:
            with pytest.raises(RaysmoothError, match=rf"--n {smallest} or more"):
                check(smallest - 1, alpha)


def test_refused_sigma() -> None:
    for sigma in (0.0, -0.25, float("nan"), float("inf")):
        with pytest.raises(RaysmoothError, match="sigma must be a positive number"):
            Gaussian(sigma)


def test_largest_p_lower_is_the_closed_form() -> None:
    assert largest_p_lower(10_000, 0.001) == pytest.approx(1 + log(0.001) / 10_000, abs=3e-7)
    assert sqrt(largest_p_lower(2, 0.25)) == pytest.approx(sqrt(0.5))


def multinomials(n: int, classes: int) -> list[tuple[int, ...]]:
    """All counts of n draws."""
    if classes == 1:
        return [(n,)]
    return [(first, *rest) for first in range(n + 1) for rest in multinomials(n - first, classes - 1)]


@pytest.mark.parametrize(("count", "n", "alpha"), GRID)
def test_upper_bound_is_the_mirror_image(count: int, n: int, alpha: float) -> None:
    bound = upper_bound(count, n, alpha)
    theirs = proportion_confint(count, n, alpha=2 * alpha, method="beta")[1]
    assert bound == pytest.approx(1.0 if count == n else theirs, rel=1e-9, abs=1e-12)
    assert bound == pytest.approx(1 - lower_bound(n - count, n, alpha), rel=1e-9)


def test_runner_up_by_hand() -> None:
    # 60, 20 and 20 of 100 draws, alpha 0.05: textbook 95 % intervals are [0.4972, 0.6967] of 60 and [0.1267, 0.2918] of
    # 20. PhiInv(0.4972) = -0.0070, PhiInv(0.2918) = -0.5481 (tables): radius 0.5411 sigma / 2.
    certificate = certify_runner_up(np.array([9, 1, 0]), np.array([60, 20, 20]), Gaussian(2.0), 0.05)
    assert (certificate.prediction, certificate.count_top) == (0, 60)
    assert certificate.p_lower == pytest.approx(0.4972, abs=5e-5)
    assert certificate.p_upper == pytest.approx(0.2918, abs=5e-5)
    assert certificate.radius == pytest.approx(0.5411, abs=3e-4)
    assert certify_counts(np.array([9, 1, 0]), np.array([60, 20, 20]), Gaussian(2.0), 0.05).radius == pytest.approx(
        2.0 * norm.ppf(proportion_confint(60, 100, alpha=0.1, method="beta")[0])
    )
    # Uniform noise on [-1, 1]: pA - pB = 0.4972 - 0.2918.
    l1 = certify_runner_up(np.array([9, 1, 0]), np.array([60, 20, 20]), Uniform(1 / sqrt(3)), 0.05)
    assert l1.radius == pytest.approx(0.2054, abs=1e-4)
    # 3 of 3 at alpha 27/32: pA = (27/64)^(1/3) = 3/4, and 1 - pA = 1/4 is also the bound of a count of 0.
    three = certify_runner_up(np.array([1, 0]), np.array([3, 0]), Gaussian(2.0), 27 / 32)
    assert (three.p_lower, three.p_upper) == (pytest.approx(0.75), pytest.approx(0.25))
    assert three.radius == pytest.approx(2 * 0.6744897501960817)
    # The largest count of others decides, whichever class the selection draws had second; nothing of nothing abstains.
    same = certify_runner_up(np.array([9, 0, 1]), np.array([60, 25, 15]), Gaussian(2.0), 0.05)
    assert same == certify_runner_up(np.array([9, 1, 0]), np.array([60, 15, 25]), Gaussian(2.0), 0.05)
    assert certify_runner_up(np.array([9, 1]), np.array([0, 0]), Gaussian(2.0), 0.05).prediction == ABSTAIN
    assert certify_runner_up(np.array([9, 1]), np.array([50, 50]), Gaussian(2.0), 0.05).prediction == ABSTAIN


@given(st.lists(st.integers(0, 300), min_size=2, max_size=6), st.floats(1e-6, 0.2))
def test_the_runner_up_bound_is_never_worse_than_one_minus_pa_at_half_of_alpha(counts: list[int], alpha: float) -> None:
    estimation = np.array(counts)
    if not estimation.any():
        return
    own = certify_runner_up(estimation, estimation, Gaussian(0.5), alpha)
    half = certify_counts(estimation, estimation, Gaussian(0.5), alpha / 2)
    assert own.p_lower == half.p_lower
    assert own.radius >= half.radius * (1 - 1e-12)
    assert own.p_upper is not None
    assert own.p_upper <= 1 - own.p_lower
    if len(counts) == 2:  # what is not A is B
        assert own.radius == pytest.approx(half.radius, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01])
@pytest.mark.parametrize(
    "p", [(0.6, 0.4), (0.5, 0.3, 0.2), (0.4, 0.3, 0.3), (0.34, 0.33, 0.33), (0.4, 0.2, 0.2, 0.2), (0.7, 0.15, 0.15)]
)
def test_both_bounds_hold_together_over_all_counts_there_can_be(p: tuple[float, ...], alpha: float) -> None:
    """Exactly, by the probabilities of all multinomial counts: pA above its bound and every other class below theirs
    but for alpha, with no correction for the number of classes that tie for second place.
    """
    n = 24 if len(p) < 4 else 14
    selection = np.arange(len(p))[::-1]
    wrong = missed = 0.0
    for counts in multinomials(n, len(p)):
        certificate = certify_runner_up(selection, np.array(counts), Gaussian(1.0), alpha)
        assert certificate.p_upper is not None
        chance = multinomial.pmf(counts, n, p)
        bad = certificate.p_lower > p[0] or certificate.p_upper < max(p[1:])
        missed += chance * bad
        wrong += chance * (certificate.radius > (norm.ppf(p[0]) - norm.ppf(max(p[1:]))) / 2)
    assert wrong <= missed <= alpha
    assert missed > 0


def test_wrong_radii_of_the_runner_up_bound_by_simulation() -> None:
    """Thousands of images of ten classes, two of them close behind the right one: n0 = 30, n = 300, alpha = 0.1."""
    p = np.array([0.36, 0.27, 0.26, 0.03, 0.02, 0.02, 0.01, 0.01, 0.01, 0.01])
    rng, trials = np.random.default_rng(5), repeats(8_000)
    wrong = certified = 0
    known: dict[tuple[int, int, int], Certificate] = {}
    rest = [max(np.delete(p, top)) for top in range(10)]
    true_radius = np.maximum(0.0, (norm.ppf(p) - norm.ppf(rest)) / 2)
    for selection, estimation in zip(rng.multinomial(30, p, trials), rng.multinomial(300, p, trials), strict=True):
        top = int(selection.argmax())
        key = (top, int(estimation[top]), int(np.delete(estimation, top).max()))
        if key not in known:
            known[key] = certify_runner_up(selection, estimation, Gaussian(1.0), 0.1)
        certificate = known[key]
        certified += certificate.prediction != ABSTAIN
        wrong += certificate.radius > true_radius[top]
    assert certified > trials / 8  # and pA is far below 1/2
    assert 0 < wrong <= binom.ppf(0.999, trials, 0.1)
