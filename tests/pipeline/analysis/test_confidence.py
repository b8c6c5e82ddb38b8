"""Intervals of certified accuracy: by hand, by computations that share no code with ours, by simulated test sets."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm
from simulated_runs import SETS, most_failures, needed_count

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import population_interval, wrong_certificates_bound

N, n, ALPHA, DELTA, P0 = 1000, 75, 0.05, 0.1, float(norm.cdf(0.5))  # radius 0.25 at sigma 0.5
CRITICAL = needed_count(n, ALPHA, P0)
# Images that are certifiable for sure, hardly, and just not: a wrong certificate of the last has nearly alpha.
TRUTHS, SHARES = np.array([0.999, P0 + 0.01, P0 - 1e-9]), np.array([0.5, 0.1, 0.4])


def simulated() -> tuple[np.ndarray, np.ndarray]:
    """In each of SETS test sets how many of N images are counted as certified, and how many truly are; int (SETS,)."""
    generator = np.random.default_rng(6)
    kind = generator.choice(len(TRUTHS), (SETS, N), p=SHARES)
    counted = generator.binomial(n, TRUTHS[kind]) >= CRITICAL
    return counted.sum(1), (TRUTHS[kind] >= P0).sum(1)


def test_the_ends_fail_no_more_often_than_they_say() -> None:
    tau = SHARES[:2].sum()
    q = float(SHARES @ binom.sf(CRITICAL - 1, n, TRUTHS))
    wrong = binom.sf(CRITICAL - 1, n, TRUTHS[2])
    assert 0.8 * ALPHA < wrong <= ALPHA  # near the worst case, so that the test can fail
    low, procedure_low, high = population_interval(simulated()[0], N, ALPHA, DELTA)
    assert (low > tau).sum() <= most_failures(DELTA / 2)
    assert (procedure_low > q).sum() <= most_failures(DELTA / 2)
    assert (high < q).sum() <= most_failures(DELTA / 2)
    assert ((low > tau) | (high < q)).sum() <= most_failures(DELTA)


def test_the_low_end_is_tight_and_without_alpha_it_would_be_wrong() -> None:
    """All certifiable images are certified, the others with probability alpha at most: the worst case of the bound."""
    shares = np.array([0.6, 0.4])
    q, tau = float(shares @ binom.sf(CRITICAL - 1, n, TRUTHS[[0, 2]])), shares[0]
    certified = np.random.default_rng(7).binomial(N, q, SETS)
    low, without_alpha, _ = population_interval(certified, N, ALPHA, DELTA)
    assert (low > tau).sum() <= most_failures(DELTA / 2)
    assert (low > tau).sum() > 0.2 * DELTA / 2 * SETS
    assert (without_alpha > tau).sum() > most_failures(DELTA / 2)


@given(st.integers(1, 2000), st.floats(0.0, 0.2), st.floats(0.001, 0.5), st.data())
@examples(100)
def test_exact_ends_are_beta_quantiles(images: int, alpha: float, delta: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, images))
    (low,), (procedure_low,), (high,) = population_interval(np.array([k]), images, alpha, delta)
    share_low = beta.ppf(delta / 2, k, images - k + 1) if k else 0.0
    assert procedure_low == pytest.approx(share_low, abs=1e-12)
    assert high == pytest.approx(beta.ppf(1 - delta / 2, k + 1, images - k) if k < images else 1.0, abs=1e-12)
    assert low == pytest.approx(max(0.0, 1 - (1 - share_low) / (1 - alpha)), abs=1e-12)
    assert 0 <= low <= procedure_low <= k / images <= high <= 1


def test_the_number_of_wrong_certificates_is_bounded() -> None:
    """No image is certifiable, so every certificate is wrong: the worst case."""
    n, alpha, images = 75, 0.05, 400
    chance = bounds_above(n, alpha)
    assert 0.8 * alpha < chance <= alpha
    certified = np.random.default_rng(3).binomial(images, chance, SETS)  # all of them wrongly
    assert (certified > wrong_certificates_bound(images, alpha, 0.1)).sum() <= most_failures(0.1)
    # Counting only those that came out certified, or as many as are wrong on average, would be caught.
    bound = {count: wrong_certificates_bound(int(count), alpha, 0.1) for count in np.unique(certified)}
    assert sum(count > bound[count] for count in certified) > most_failures(0.1)
    assert (certified > images * alpha).sum() > most_failures(0.1)


def bounds_above(n: int, alpha: float) -> float:
    """The probability that the bound of an image whose class has (nearly) P0 reaches P0."""
    return float(binom.sf(needed_count(n, alpha, P0) - 1, n, P0))


def test_wrong_certificates_by_hand() -> None:
    # (1 - alpha)^N = 0.99^10 = 0.904: with 90 % none is wrong, with 95 % at most one (0.99^10 + 0.1 * 0.99^9 = 0.9957).
    assert wrong_certificates_bound(10, 0.01, 0.1) == 0
    assert wrong_certificates_bound(10, 0.01, 0.05) == 1
    # Poisson(0.5), nearly: P(<= 1) = 0.910, P(<= 2) = 0.986. Poisson(10): P(<= 14) = 0.917, P(<= 15) = 0.951.
    assert wrong_certificates_bound(500, 0.001, 0.05) == 2
    assert wrong_certificates_bound(10_000, 0.001, 0.05) == 15


@given(st.integers(1, 2000), st.floats(1e-6, 0.2), st.floats(0.001, 0.5))
@examples(50)
def test_the_bound_is_the_binomials_quantile(images: int, alpha: float, delta: float) -> None:
    assert wrong_certificates_bound(images, alpha, delta) == binom.ppf(1 - delta, images, alpha)


def test_no_probability_is_refused() -> None:
    for delta in (0, 1, -0.1, float("nan")):
        with pytest.raises(RaysmoothError, match="delta"):
            wrong_certificates_bound(100, 0.001, delta)
