"""Intervals of certified accuracy: by hand, by computations that share no code with ours, by simulated test sets."""

from math import comb

import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, A, B, run_of, sampled_run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm
from simulated_runs import SETS, most_failures, needed_count, rows_of_counts

from actors.refusal import Refusal
from pipeline.confidence import accuracy_intervals, least_right, population_interval, truly_certifiable

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


def test_of_these_images_no_more_are_taken_off_or_left_than_said() -> None:
    certified, truly = simulated()
    least = {count: least_right(int(count), N, ALPHA, DELTA) for count in np.unique(certified)}
    failures = sum(least[count] > right for count, right in zip(certified, truly, strict=True))
    assert failures <= most_failures(DELTA)
    generator = np.random.default_rng(8)
    wrong = generator.binomial(N - 600, binom.sf(CRITICAL - 1, n, TRUTHS[2]), SETS)
    assert sum(least_right(600 + int(w), N, ALPHA, DELTA) > 600 for w in wrong) <= most_failures(DELTA)
    # Taking off the expected number of wrong certificates instead, or none, is caught.
    assert sum(600 + w - (N - 600) * ALPHA > 600 for w in wrong) > most_failures(DELTA)
    assert sum(600 + w > 600 for w in wrong) > most_failures(DELTA)


@given(st.integers(1, 60), st.floats(0.001, 0.3), st.floats(0.01, 0.3), st.data())
@settings(max_examples=100, deadline=None)
def test_of_these_images_by_trying_every_number(images: int, alpha: float, delta: float, data: st.DataObject) -> None:
    certified = data.draw(st.integers(0, images))

    def at_least(truly: int) -> float:
        """P(truly + Binomial(images - truly, alpha) >= certified)."""
        others, wrong = images - truly, max(0, certified - truly)
        return sum(comb(others, k) * alpha**k * (1 - alpha) ** (others - k) for k in range(wrong, others + 1))

    least = least_right(certified, images, alpha, delta)
    assert least == 0 or at_least(least - 1) <= delta + 1e-9
    assert at_least(least) > delta - 1e-9
    assert certified - binom.ppf(1 - delta, images, alpha) <= least <= certified


@given(st.integers(1, 2000), st.floats(0.0, 0.2), st.floats(0.001, 0.5), st.data())
@settings(max_examples=100, deadline=None)
def test_exact_ends_are_beta_quantiles(images: int, alpha: float, delta: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, images))
    (low,), (procedure_low,), (high,) = population_interval(np.array([k]), images, alpha, delta)
    share_low = beta.ppf(delta / 2, k, images - k + 1) if k else 0.0
    assert procedure_low == pytest.approx(share_low, abs=1e-12)
    assert high == pytest.approx(beta.ppf(1 - delta / 2, k + 1, images - k) if k < images else 1.0, abs=1e-12)
    assert low == pytest.approx(max(0.0, 1 - (1 - share_low) / (1 - alpha)), abs=1e-12)
    assert 0 <= low <= procedure_low <= k / images <= high <= 1


def test_wilson_ends_are_those_of_the_score_test() -> None:
    (low,), (procedure_low,), (high,) = population_interval(np.array([30]), 100, 0.01, 0.05, "wilson")
    z = norm.ppf(0.975)
    for end, between in ((procedure_low, (0.01, 0.3)), (high, (0.3, 0.9))):
        assert end == pytest.approx(brentq(lambda p: (0.3 - p) ** 2 - z**2 * p * (1 - p) / 100, *between), abs=1e-9)
    assert low == pytest.approx((procedure_low - 0.01) / 0.99)
    none, _, _ = population_interval(np.array([0]), 100, 0.01, 0.05, "wilson")
    assert none == [0.0]


def test_a_run_by_hand() -> None:
    # 4 of 8 right at 0, 1 at 0.6, 0 at 1; alpha 0.001. All 8 wrong: U = 1 - 0.025^(1/8); 1 of 8: L = 1 - 0.975^(1/8).
    table = accuracy_intervals(run_of(A), [0, 0.6, 1.0])
    assert list(table["certified"]) == [4, 1, 0]
    assert list(table["share"]) == [0.5, 0.125, 0.0]
    assert set(table["images"]) == {8}
    assert table["high"][2] == pytest.approx(1 - 0.025 ** (1 / 8))
    assert table["procedure_low"][1] == pytest.approx(one := 1 - 0.975 ** (1 / 8))
    assert table["low"][1] == pytest.approx((one - 0.001) / 0.999)
    assert table["low"][2] == 0
    # Of these 8: P(Binomial(8, 0.001) >= 1) = 0.008 <= 0.05, so none of the certificates is wrong; at delta = 0.001 one
    # may be, and not two: P(Binomial(8, 0.001) >= 2) = 0.00003.
    assert list(truly_certifiable(run_of(A), [0, 0.6, 1.0])["at_least"]) == [4, 1, 0]
    assert list(truly_certifiable(run_of(A), [0, 0.6, 1.0], 0.001)["at_least"]) == [3, 0, 0]


def test_rows_say_the_same_as_their_counts() -> None:
    counts = np.random.default_rng(9).binomial(n, 0.8, 300)
    table = accuracy_intervals(rows_of_counts(counts, n, ALPHA), [0.25], DELTA, "wilson")
    certified = int((counts >= CRITICAL).sum())
    assert 0 < certified < 300
    ends = population_interval(np.array([certified]), 300, ALPHA, DELTA, "wilson")
    assert list(table.loc[0, ["certified", "low", "procedure_low", "high"]]) == [certified, *(end[0] for end in ends)]


def test_unlabelled_decided_and_imported_runs() -> None:
    unlabelled = accuracy_intervals(run_of(A, label=None), [0])
    assert unlabelled["certified"][0] == 5
    decided = accuracy_intervals(sampled_run(A, DECIDE, DECIDED), [0.3, 0.5])
    assert decided["certified"][0] == 3
    assert decided.loc[1, ["certified", "share", "low", "high", "procedure_low"]].isna().all()
    assert truly_certifiable(sampled_run(A, DECIDE, DECIDED), [0.5])[["certified", "at_least"]].isna().all(axis=None)
    imported = accuracy_intervals(run_of(A, alpha=None), [0])
    assert np.isnan(imported["low"][0])
    assert imported["procedure_low"][0] > 0.1
    assert truly_certifiable(run_of(A, alpha=None), [0])["at_least"].isna().all()


def test_refusals() -> None:
    with pytest.raises(Refusal, match=r"more than one run_id \(0123456789012345 and fedcba9876543210\)"):
        accuracy_intervals(pd.concat([run_of(A), run_of(B)]), [0])
    with pytest.raises(Refusal, match="more than one alpha"):
        truly_certifiable(pd.concat([run_of(A), run_of(A, alpha=0.01)]), [0])
    for delta in (0, 1, -0.1, float("nan")):
        with pytest.raises(Refusal, match="delta"):
            accuracy_intervals(run_of(A), [0], delta)
    with pytest.raises(Refusal, match=r"unknown kind of interval 'wilsn': did you mean 'wilson'\?"):
        accuracy_intervals(run_of(A), [0], method="wilsn")
    with pytest.raises(Refusal, match="no certificate rows"):
        accuracy_intervals(run_of(A).head(0), [0])
