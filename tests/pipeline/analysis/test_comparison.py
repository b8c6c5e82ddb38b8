"""Paired comparison: by hand, by SciPy, and its interval by adding up every outcome there is."""

import numpy as np
import pandas as pd
import pytest
from certificate_rows import BETTER, DECIDE, DECIDED, PLAIN, A, B, run_of, sampled_run
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, multinomial

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.comparison import compare
from raysmooth.pipeline.analysis.metrics import certified_accuracy
from raysmooth.pipeline.analysis.paired_difference import difference_interval


def test_by_hand() -> None:
    # At 0.25 PLAIN certifies images 0, 50, 100; BETTER those, 200 and 350: PLAIN is wrong on 200 and failed on 350.
    found = compare(run_of(A, PLAIN), run_of(B, BETTER), 0.25)
    assert (found.images, found.both, found.only_a, found.only_b, found.neither) == (8, 3, 0, 2, 3)
    assert found.left_out == 0
    assert found.p_value == 0.5  # two differ, both one way: 2 (1/2)^2
    assert found.difference == -0.25
    assert found.low < -0.25 < found.high
    assert found.table.to_numpy().tolist() == [[3, 0], [2, 3]]
    differing = found.differing
    assert list(differing["image_id"]) == [200, 350]
    assert list(differing["certified_by"]) == ["b", "b"]
    assert list(differing["label"]) == [1, 1]
    assert differing["radius_a"].isna().all()
    assert list(differing["radius_b"]) == [0.75, 0.3]


def test_a_radius_that_is_equal_counts_and_the_next_float_does_not() -> None:
    a, b = run_of(A, [(1, 0.5)]), run_of(B, [(1, np.nextafter(0.5, 1))])
    assert compare(a, b, 0.5).both == 1
    later = compare(a, b, np.nextafter(0.5, 1))
    assert later.only_b == 1
    assert list(later.differing["radius_a"]) == [0.5]


def test_only_images_of_both_are_compared_in_whatever_order() -> None:
    a = run_of(A, PLAIN).iloc[::-1]
    b = run_of(B, BETTER).iloc[2:6]
    found = compare(a, b, 0.25)
    assert (found.images, found.left_out) == (4, 4)
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 0, 1, 2)


outcome = st.tuples(st.sampled_from([1, 2, -1, None]), st.floats(0, 1)).map(
    lambda pair: (pair[0], None if pair[0] is None else 0.0 if pair[0] == -1 else pair[1])
)


@given(st.lists(st.tuples(outcome, outcome), min_size=1, max_size=25), st.floats(0, 1))
@examples(10)
def test_it_adds_up_and_is_scipys_binomial_test(pairs: list[tuple], radius: float) -> None:  # type: ignore[type-arg]
    a, b = (run_of(name, [pair[place] for pair in pairs]) for place, name in ((0, A), (1, B)))
    found = compare(a, b, radius)
    assert found.both + found.only_a + found.only_b + found.neither == found.images == len(pairs)
    assert len(found.differing) == found.only_a + found.only_b
    accuracies = [certified_accuracy(rows, [radius])[0] for rows in (a, b)]
    assert found.difference == pytest.approx(accuracies[0] - accuracies[1])
    differ = found.only_a + found.only_b
    assert found.p_value == pytest.approx(binomtest(found.only_a, differ).pvalue if differ else 1.0)
    assert -1 <= found.low <= found.difference <= found.high <= 1
    swapped = compare(b, a, radius)
    assert (swapped.only_a, swapped.only_b, swapped.p_value) == (found.only_b, found.only_a, found.p_value)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("images", [4, 6])
def test_the_interval_fails_no_more_often_than_it_says(images: int) -> None:
    """Exactly: every outcome of so many images, with its probability, for many pairs of parameters."""
    delta = 0.2
    outcomes = [(b, c) for b in range(images + 1) for c in range(images + 1 - b)]
    won = {(b, c): difference_interval(b, c, images, delta) for b, c in outcomes if b >= c}
    intervals = np.array([won[b, c] if b >= c else (-won[c, b][1], -won[c, b][0]) for b, c in outcomes])
    naive = 0.0
    for p10 in np.linspace(0, 1, 21):
        for p01 in np.linspace(0, 1 - p10, 9):
            counts = np.array([(b, c, images - b - c) for b, c in outcomes])
            odds = np.clip([p10, p01, 1 - p10 - p01], 0, 1)
            chance = multinomial.pmf(counts, images, odds / odds.sum())
            theta = p10 - p01
            assert chance[intervals[:, 0] > theta].sum() <= delta / 2 + 1e-9
            assert chance[intervals[:, 1] < theta].sum() <= delta / 2 + 1e-9
            share = (counts[:, 0] - counts[:, 1]) / images
            variance = (counts[:, 0] + counts[:, 1]) / images - share**2
            naive = max(naive, chance[share - 1.2816 * np.sqrt(variance / images) > theta].sum())
    assert naive > delta / 2  # Wald's interval, by the same sum, fails more often than it says


def test_the_intervals_ends_by_hand_and_in_a_large_sample() -> None:
    # All of 20 images won by a: P(all | p10 = (1 + theta) / 2) = 0.025 less what is spent on phi, a twentieth.
    low, high = difference_interval(20, 0, 20)
    assert low == pytest.approx(2 * (0.025 * 0.95) ** (1 / 20) - 1, abs=2e-5)
    assert high == 1
    # 7 and 2 of 50: at the low end, adding up all outcomes, the worst phi up to its bound is as likely as is left.
    low, _ = difference_interval(7, 2, 50)
    most = brentq(lambda phi: binom.cdf(9, 50, phi) - 0.025 * 0.05, 0.1, 0.9)
    counts = np.array([(b, c, 50 - b - c) for b in range(51) for c in range(51 - b) if b - c >= 5])
    tails = [
        multinomial.pmf(counts, 50, [(phi + low) / 2, (phi - low) / 2, 1 - phi]).sum()
        for phi in np.linspace(abs(low), most, 40)
    ]
    assert 0.97 * 0.025 * 0.95 < max(tails) <= 0.025 * 0.95
    # 10,000 images: nearly the normal interval, whose half length is 1.96 sqrt(0.105 - 0.015^2) / 100 = 0.00634.
    low, high = difference_interval(600, 450, 10_000)
    assert 0.00634 < (high - low) / 2 < 1.1 * 0.00634
    assert (low + high) / 2 == pytest.approx(0.015, abs=1e-4)


def test_refusals() -> None:
    plain = run_of(A)
    cases = [
        (plain, run_of(B, dataset="mnist"), 0.2, "has dataset digits and run .* mnist"),
        (plain, run_of(B, split="train"), 0.2, "split"),
        (plain, run_of(B, norm="l1"), 0.2, "norm"),
        (plain, run_of(B, label=None), 0.2, "only one of .* has labels"),
        (plain, run_of(B, label=2), 0.2, "image 0 has label 1 in one run and 2 in the other"),
        (plain.iloc[:4], run_of(B).iloc[4:], 0.2, "no image in common"),
        (plain, plain.head(0), 0.2, "no certificate rows"),
        (plain, pd.concat([run_of(A), run_of(B)]), 0.2, "more than one run_id"),
        (
            plain,
            sampled_run(B, DECIDE, DECIDED),
            0.5,
            r"decides radius 0\.3, its certificates at 0\.5 are unknown: write --radius 0\.3",
        ),
        (
            plain,
            sampled_run(B, DECIDE, DECIDED),
            0.25,
            r"certificates at 0\.25 are unknown: write --radius 0\.3",
        ),  # those not certified
        (
            sampled_run(A, "decide:radius=0.2", DECIDED),
            sampled_run(B, DECIDE, DECIDED),
            0.2,
            "they have no radius in common",
        ),
        (plain, run_of(B), -0.1, r"radius -0\.1"),
        (plain, run_of(B), float("nan"), "radius nan"),
    ]
    for a, b, radius, message in cases:
        with pytest.raises(RaysmoothError, match=message) as refused:
            compare(a, b, radius)
        assert "\n" not in str(refused.value)
    with pytest.raises(RaysmoothError, match="delta 0: "):
        compare(plain, run_of(B), 0.2, 0)


def test_runs_without_labels_compare_whatever_the_class() -> None:
    found = compare(run_of(A, PLAIN, label=None), run_of(B, BETTER, label=None), 0.7)
    assert (found.both, found.only_a, found.only_b, found.neither) == (2, 0, 0, 6)
    assert found.p_value == 1


def test_a_run_that_decides_one_radius_is_compared_at_it() -> None:
    found = compare(run_of(A, BETTER), sampled_run(B, DECIDE, DECIDED), 0.3)
    # BETTER certifies 0, 50, 100, 200 and 350; DECIDED 0, 50 and 100, 150 wrongly.
    assert (found.both, found.only_a, found.only_b) == (3, 2, 0)
