"""Certificates against worked numbers, against computations that share no code with ours, and against chance."""

from math import comb, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from actors.noise import Gaussian
from actors.refusal import Refusal
from pipeline.certificate import (
    ABSTAIN,
    certify_counts,
    largest_p_lower,
    lower_bound,
    predict_counts,
    refuse_hopeless_certify,
    refuse_hopeless_predict,
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
    trials, n = 20_000, 1000
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
    truth, noise, alpha, trials = np.array([0.25, 0.6, 0.15]), Gaussian(0.5), 0.01, 20_000
    generator = np.random.default_rng(5)
    selections, estimations = generator.multinomial(20, truth, trials), generator.multinomial(400, truth, trials)
    results = [certify_counts(s, e, noise, alpha) for s, e in zip(selections, estimations, strict=True)]
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
        except Refusal:
            return False
        return True

    for check, possible in (
        (refuse_hopeless_certify, lambda n: lower_bound(n, n, alpha) > 0.5),
        (refuse_hopeless_predict, lambda n: binomtest(n, n, 0.5).pvalue <= alpha),
    ):
        smallest = next(n for n in range(1, 100) if possible(n))
        assert [n for n in range(1, 100) if accepted(check, n)] == list(range(smallest, 100))
        if smallest > 1:
            with pytest.raises(Refusal, match=rf"--n {smallest} or more"):
                check(smallest - 1, alpha)


def test_refused_sigma() -> None:
    for sigma in (0.0, -0.25, float("nan"), float("inf")):
        with pytest.raises(Refusal, match="sigma must be a positive number"):
            Gaussian(sigma)


def test_largest_p_lower_is_the_closed_form() -> None:
    assert largest_p_lower(10_000, 0.001) == pytest.approx(1 + log(0.001) / 10_000, abs=3e-7)
    assert sqrt(largest_p_lower(2, 0.25)) == pytest.approx(sqrt(0.5))
