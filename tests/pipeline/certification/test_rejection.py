"""Certificates with rejected draws: worked numbers, coverage over all counts there can be, the larger of two bounds."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import gammaln
from scipy.stats import binom, binomtest, norm

from raysmooth.actors.noise.families import Uniform
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import (
    ABSTAIN,
    NOISE_BOUNDS,
    Certify,
    certify_counts,
    certify_rejection,
    certify_runner_up,
    lower_bound,
    predict_counts,
    refuse_hopeless_certify,
    upper_bound,
)
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected, without_rejection
from raysmooth.pipeline.certification.sampling_rule import Fixed, FixedPrediction

CHOSEN = np.array([80, 15, 5])
SPLIT = [certify_rejection, certify_runner_up]


def lower(count: int, n: int, alpha: float) -> float:
    """The p at which `count` or more successes of n have probability alpha."""
    return float(brentq(lambda p: binom.sf(count - 1, n, p) - alpha, 1e-9, 1 - 1e-9, xtol=1e-14)) if count else 0.0


def upper(count: int, n: int, alpha: float) -> float:
    """The p at which `count` or fewer successes of n have probability alpha."""
    return float(brentq(lambda p: binom.cdf(count, n, p) - alpha, 1e-9, 1 - 1e-9, xtol=1e-14))


def counts_of(top: int, rejected: int, largest: int, n: int = 10_000) -> tuple[np.ndarray, int]:
    """Kept counts of four classes, of which the second has `largest` draws, and the number of rejected draws."""
    rest = n - top - rejected - largest
    return np.array([top, largest, rest // 2, rest - rest // 2]), rejected


@pytest.mark.parametrize(
    ("top", "rejected", "largest", "cohen", "theorem", "runner_up"),
    [
        (6000, 3500, 250, 0.224, 0.90544, 1.05585),
        (9000, 900, 50, 1.242, 1.73394, 1.84430),
        (4000, 5900, 50, 0.0, 0.97217, 1.08252),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_worked_numbers_by_inverting_binomial_tails(
    top: int, rejected: int, largest: int, cohen: float, theorem: float, runner_up: float, share: float
) -> None:
    """Sigma 1, n = 10,000, alpha = 0.01. The radii above are for equal shares."""
    n, alpha = 10_000, 0.01
    estimation, _ = counts_of(top, rejected, largest)
    kept = certify_counts(CHOSEN, estimation, Gaussian(1.0), alpha, rejected=rejected)
    assert kept.radius == pytest.approx(max(0.0, norm.ppf(lower(top, n, alpha))), abs=1e-7)
    assert kept.radius == pytest.approx(cohen, abs=5e-4)
    assert kept.count_rejected == rejected
    p_lower = lower(top, n, share * alpha)
    for certify, others, at_half in (
        (certify_rejection, n - top - rejected, theorem),
        (certify_runner_up, largest, runner_up),
    ):
        certificate = certify(CHOSEN, estimation, Gaussian(1.0), alpha, share=share, rejected=rejected)
        p_upper = upper(others, n, (1 - share) * alpha)
        assert certificate.p_lower == pytest.approx(p_lower, rel=1e-7)
        assert certificate.p_upper == pytest.approx(p_upper, rel=1e-7)
        assert certificate.radius == pytest.approx((norm.ppf(p_lower) - norm.ppf(p_upper)) / 2, rel=1e-7)
        assert (certificate.prediction, certificate.count_top, certificate.count_rejected) == (0, top, rejected)
        if share == 0.5:
            assert certificate.radius == pytest.approx(at_half, abs=6e-6)


def test_bounds_of_the_worked_numbers() -> None:
    """6,000 of 10,000 draws are the class's, 3,500 rejected, 250 the runner-up's: LA, LAR and pB's bound at 0.005."""
    estimation, rejected = counts_of(6000, 3500, 250)
    theorem, own = (certify(CHOSEN, estimation, Gaussian(1.0), 0.01, share=0.5, rejected=rejected) for certify in SPLIT)
    assert theorem.p_upper is not None
    assert (theorem.p_lower, 1 - theorem.p_upper) == (
        pytest.approx(0.587286, abs=1e-6),
        pytest.approx(0.944118, abs=1e-6),
    )
    assert own.p_upper == pytest.approx(0.029304, abs=1e-6)


def test_an_unequal_share_makes_up_for_the_split_where_nothing_was_rejected() -> None:
    """All of 10,000 draws agree, sigma 1, alpha 0.01. At alpha: 0.01^(1/10000) = exp(-0.000460517), radius 3.314; at
    0.005: 3.274; at 0.009: 3.307, since 1 - pA is then below the other bound, 1 - 0.001^(1/10000).
    """
    everything = np.array([10_000, 0, 0])
    assert certify_counts(CHOSEN, everything, Gaussian(1.0), 0.01).radius == pytest.approx(3.314, abs=5e-4)
    for certify in SPLIT:
        equal, most = (
            certify(CHOSEN, everything, Gaussian(1.0), 0.01, share=share, rejected=0) for share in (0.5, 0.9)
        )
        assert equal.radius == pytest.approx(3.274, abs=5e-4)
        assert most.radius == pytest.approx(3.307, abs=5e-4)
        assert most.radius == pytest.approx(norm.isf(-np.expm1(np.log(0.009) / 10_000)), rel=1e-9)


def outcomes(n: int, parts: int) -> np.ndarray:
    """All counts of n draws, int (M, parts)."""
    if parts == 1:
        return np.array([[n]])
    rest = [outcomes(n - first, parts - 1) for first in range(n + 1)]
    return np.concatenate([np.insert(found, 0, first, axis=1) for first, found in enumerate(rest)])


def chances(counts: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The multinomial probabilities of `counts` (M, parts) under each of `p` (G, parts), (G, M)."""
    ways = gammaln(counts.sum(axis=1) + 1) - gammaln(counts + 1).sum(axis=1)
    return np.exp(ways + np.log(np.maximum(p, 1e-300)) @ counts.T)


N = 30
TRINOMIAL = outcomes(N, 3)  # of the class A, rejected, and one other class
GRID = np.array([(a, r, 50 - a - r) for a in range(1, 50) for r in range(51 - a)]) / 50
CHANCES = chances(TRINOMIAL, GRID)


def failures(p_lower: np.ndarray, p_upper: np.ndarray) -> np.ndarray:
    """The probability, at each point of GRID, that pA is below its bound or the other class above its own."""
    wrong = (p_lower > GRID[:, [0]] + 1e-12) | (p_upper < GRID[:, [2]] - 1e-12)
    return (CHANCES * wrong).sum(axis=1)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("certify", SPLIT)
def test_both_bounds_hold_but_for_alpha_at_every_pair_of_probabilities(
    certify: Certify, share: float, alpha: float
) -> None:
    """Exactly, by all counts of 30 draws, for every pA and pR of a grid; true radii are exceeded no more often."""
    assert CHANCES.sum(axis=1) == pytest.approx(1)
    found = [
        certify(CHOSEN[:2], counts[[0, 2]], Gaussian(1.0), alpha, share=share, rejected=int(counts[1]))
        for counts in TRINOMIAL
    ]
    p_lower, p_upper, radii = np.array([[one.p_lower, one.p_upper, one.radius] for one in found], float).T
    missed = failures(p_lower, p_upper)
    true = np.maximum(0.0, (norm.ppf(GRID[:, [0]]) - norm.ppf(GRID[:, [2]])) / 2)
    beyond = (CHANCES * (radii > true + 1e-9)).sum(axis=1)
    assert (beyond <= missed + 1e-12).all()
    assert alpha / 3 < missed.max() <= alpha


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_with_all_of_alpha_for_each_bound_one_of_them_fails_too_often(alpha: float) -> None:
    """Which is why alpha is split."""
    p_lower = np.array([lower_bound(int(count), N, alpha) for count in TRINOMIAL[:, 0]])
    p_upper = np.array([upper_bound(int(count), N, alpha) for count in TRINOMIAL[:, 2]])
    assert failures(p_lower, p_upper).max() > 1.3 * alpha


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_runner_up_needs_no_correction_for_choosing_it_by_the_same_draws(share: float) -> None:
    """Three other classes and rejected draws, by all counts of 14 draws."""
    n, alpha = 14, 0.1
    counts = outcomes(n, 5)  # A, rejected, B, C, D
    pairs, place = np.unique(np.stack([counts[:, 0], counts[:, 2:].max(axis=1)]), axis=1, return_inverse=True)
    found = [
        certify_runner_up(
            CHOSEN[:2], np.array([top, other]), Gaussian(1.0), alpha, share=share, rejected=n - top - other
        )
        for top, other in pairs.T.tolist()
    ]
    p_lower, p_upper = np.array([[one.p_lower, one.p_upper] for one in found], float)[place.ravel()].T
    p = np.array(
        [[4, 3, 1, 1, 1], [2.5, 0, 2.5, 2.5, 2.5], [3, 5, 0.8, 0.7, 0.5], [6, 1, 3, 0, 0], [3.4, 0, 3.3, 3.3, 0]]
    ) / 10  # fmt: skip
    wrong = (p_lower > p[:, [0]]) | (p_upper < p[:, 2:].max(axis=1, keepdims=True))
    assert ((chances(counts, p) * wrong).sum(axis=1) <= alpha).all()


@given(
    st.lists(st.integers(0, 300), min_size=2, max_size=6),
    st.integers(0, 500),
    st.floats(1e-6, 0.3),
    st.floats(0.05, 0.95),
)
def test_runner_up_is_never_below_theorem_nor_that_below_cohen_at_the_share_of_alpha(
    counts: list[int], rejected: int, alpha: float, share: float
) -> None:
    estimation, noise = np.array(counts), Gaussian(0.5)
    if not estimation.sum() + rejected:
        return
    selection = np.array(counts) + 1
    theorem, own = (certify(selection, estimation, noise, alpha, share=share, rejected=rejected) for certify in SPLIT)
    cohen = certify_counts(selection, estimation, noise, share * alpha, rejected=rejected)
    assert own.p_upper is not None
    assert theorem.p_upper is not None
    assert theorem.p_lower == own.p_lower == cohen.p_lower
    assert own.p_upper <= theorem.p_upper <= 1 - cohen.p_lower
    assert own.radius >= theorem.radius * (1 - 1e-12)
    assert theorem.radius >= cohen.radius * (1 - 1e-12)
    assert cohen.prediction in (ABSTAIN, theorem.prediction)
    assert theorem.prediction in (ABSTAIN, own.prediction)
    if len(counts) == 2:  # all that is neither A nor rejected is B
        assert own == theorem


@pytest.mark.parametrize("certify", SPLIT)
def test_in_l1_the_two_bounds_add_up(certify: Certify) -> None:
    """Lambda (LA + LAR - 1) for noise on [-lambda, lambda], of 90, 6 and 3 draws of 200 with 101 rejected."""
    estimation, noise = np.array([90, 6, 3]), Uniform(Uniform.sigma_of(0.5))
    certificate = certify(CHOSEN, estimation, noise, 0.02, share=0.5, rejected=101)
    second = 1 - upper(9 if certify is certify_rejection else 6, 200, 0.01)
    assert certificate.radius == pytest.approx(0.5 * (lower(90, 200, 0.01) + second - 1), rel=1e-7)
    # The theorem's second bound is that of 191 draws, the class's and the rejected ones together.
    if certify is certify_rejection:
        assert second == pytest.approx(lower(191, 200, 0.01), rel=1e-9)
    assert certify_counts(CHOSEN, estimation, noise, 0.02, rejected=101).prediction == ABSTAIN
    assert Uniform(1 / sqrt(3)).radius(0.6, 0.2) == pytest.approx(0.4)


@pytest.mark.parametrize("bound", NOISE_BOUNDS)
@pytest.mark.parametrize("share", [None, 0.9])
def test_a_rejector_that_never_rejects_changes_nothing(bound: str, share: float | None) -> None:
    counts = {Role.SELECTION: np.array([30, 60, 10]), Role.ESTIMATION: np.array([200, 1700, 100])}
    doubled = {role: np.concatenate([own, np.zeros(3, int)]) for role, own in counts.items()}
    without = Fixed(100, 2000, 0.01, Gaussian(0.5), bound, share).conclude(counts)
    rejecting = Fixed(100, 2000, 0.01, Gaussian(0.5), bound, share, rejecting=True).conclude(doubled)
    assert without.prediction == 1
    assert vars(rejecting) == {**vars(without), "count_rejected": 0}
    assert FixedPrediction(2000, 0.01).conclude(counts).count_rejected is None
    kept = FixedPrediction(2000, 0.01, rejecting=True).conclude(doubled)
    assert vars(kept) == {**vars(FixedPrediction(2000, 0.01).conclude(counts)), "count_rejected": 0}


@pytest.mark.parametrize("bound", NOISE_BOUNDS)
def test_one_that_rejects_everything_abstains(bound: str) -> None:
    nothing, draws = np.zeros(3, int), np.array([5, 90, 5])
    rule = Fixed(100, 2000, 0.01, Gaussian(0.5), bound, rejecting=True)
    all_rejected = {
        Role.SELECTION: np.concatenate([nothing, draws]),
        Role.ESTIMATION: np.concatenate([nothing, 20 * draws]),
    }
    certificate = rule.conclude(all_rejected)
    assert certificate.p_lower == 0.0
    assert (certificate.prediction, certificate.radius, certificate.count_top) == (ABSTAIN, 0.0, 0)
    assert certificate.count_rejected == 2000
    # The estimation draws are clear, but choose no class. What bounds every other class then bounds all of them.
    no_class = {**all_rejected, Role.ESTIMATION: np.array([0, 1900, 0, 0, 100, 0])}
    certificate = rule.conclude(no_class)
    assert (certificate.prediction, certificate.radius, certificate.count_top) == (ABSTAIN, 0.0, 0)
    assert certificate.p_upper == (None if bound == "complement" else upper_bound(1900, 2000, 0.005))
    prediction = FixedPrediction(2000, 0.01, rejecting=True).conclude(all_rejected)
    assert (prediction.prediction, prediction.p_value, prediction.count_top) == (ABSTAIN, 1.0, 0)
    assert prediction.count_rejected == 2000


def test_the_class_is_the_most_frequent_kept_one_of_the_selection_draws() -> None:
    """Class 0 leads with its rejected draws, and in the estimation draws; of the kept selection draws class 1 does."""
    selection, estimation = np.array([20, 25, 0, 50, 5, 0]), np.array([900, 50, 0, 25, 25, 0])
    certificate = Fixed(100, 1000, 0.01, Gaussian(0.5), "runner-up", rejecting=True).conclude(
        {Role.SELECTION: selection, Role.ESTIMATION: estimation}
    )
    assert (certificate.prediction, certificate.count_top, certificate.count_rejected) == (ABSTAIN, 50, 50)
    clear = np.array([20, 880, 10, 40, 25, 25])
    certificate = Fixed(100, 1000, 0.01, Gaussian(0.5), "runner-up", rejecting=True).conclude(
        {Role.SELECTION: selection, Role.ESTIMATION: clear}
    )
    assert (certificate.prediction, certificate.count_top, certificate.count_rejected) == (1, 880, 90)
    assert certificate.p_upper == pytest.approx(upper(20, 1000, 0.005), rel=1e-7)


def test_labels_are_kept_and_rejected_classes() -> None:
    counts = np.array([5, 0, 2, 1, 7, 0])
    kept, rejected = kept_and_rejected(counts, rejecting=True)
    assert (kept.tolist(), rejected) == ([5, 0, 2], 8)
    assert without_rejection(counts).tolist() == [6, 7, 2]
    assert kept_and_rejected(counts, rejecting=False) == (counts, None)


def test_predictions_compare_the_two_largest_kept_classes() -> None:
    """70 of 100 and 40 of 100: 2 P(X >= 40 of 60 at 1/2), whatever was rejected; rejected draws never win."""
    prediction = predict_counts(np.array([20, 40, 0]), 0.05, rejected=900)
    assert prediction.p_value == pytest.approx(2 * binom.sf(39, 60, 0.5))
    assert (prediction.prediction, prediction.count_top, prediction.count_rejected) == (1, 40, 900)
    p_value = binomtest(20, 40, 0.5).pvalue
    assert predict_counts(np.array([20, 20, 0]), 0.05, rejected=60).prediction == ABSTAIN
    assert p_value == 1.0


@pytest.mark.parametrize("alpha", [0.3, 0.01, 1e-6])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_hopeless_settings_of_two_bounds_are_refused_with_the_smallest_n_that_is_not(
    alpha: float, share: float
) -> None:
    def certifies(n: int) -> bool:
        """All kept draws agree."""
        counts = [(np.array([n - rejected, 0, 0]), rejected) for rejected in range(n)]
        found = [
            certify(CHOSEN, kept, Gaussian(1.0), alpha, share=share, rejected=rejected)
            for certify in SPLIT
            for kept, rejected in counts
        ]
        return any(one.prediction != ABSTAIN for one in found)

    smallest = next(n for n in range(1, 100) if certifies(n))
    for n in range(smallest, smallest + 3):
        refuse_hopeless_certify(n, alpha, share)
    for n in range(1, smallest):
        with pytest.raises(
            RaysmoothError, match=rf"{share:g} of it for pA, can only abstain: write --n {smallest} or more"
        ):
            refuse_hopeless_certify(n, alpha, share)


def test_a_share_of_almost_nothing_is_refused_without_a_search_that_never_ends() -> None:
    with pytest.raises(RaysmoothError, match="write a larger --alpha"):
        refuse_hopeless_certify(10, 1e-300, 1e-30)
