"""Top-k certificates from counts: equal to the ordinary ones for k = 1, by hand elsewhere, and wrong at most as often
as they say.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from raysmooth.actors.noise.families import Uniform, noise_family
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import ABSTAIN, NOISE_BOUNDS, REJECTION, RUNNER_UP
from raysmooth.pipeline.certification.sampling_rule import Counts, Fixed
from raysmooth.pipeline.certification.top_k import TopK, TopKCertificate, refuse_no_choice, refuse_top_k

SIGMA, ALPHA = 0.5, 0.01


def counts_of(selection: Any, estimation: Any) -> Counts:
    return {Role.SELECTION: np.array(selection), Role.ESTIMATION: np.array(estimation)}


def top_k(k: int, counts: Counts, label: int | None = None, noise: Any = None, **rule: Any) -> TopKCertificate:
    """Of the certificate that CERTIFY gives for the same counts."""
    noise = noise or Gaussian(SIGMA)
    fixed = Fixed(1, 1, ALPHA, noise, **rule)
    return TopK(k, ALPHA, noise, fixed.bound, fixed.rejecting).certify(counts, fixed.conclude(counts), label)


def test_a_class_that_abstains_has_a_radius_by_hand() -> None:
    """Of 1000 draws class 2 has 430, the label 0 has 300: their bounds are Clopper and Pearson's at 0.01."""
    found = top_k(3, counts_of([4, 0, 6, 0, 0], [300, 100, 430, 100, 70]), label=0)
    p_selected, p_label = beta.ppf(0.01, 430, 571), beta.ppf(0.01, 300, 701)
    assert p_selected < 0.5
    assert (found.prediction_top_k, found.count_label) == (2, 300)
    assert found.radius_top_k == pytest.approx(SIGMA * (norm.ppf(p_selected) - norm.ppf(1 / 4)), rel=1e-9)
    assert found.label_radius_top_k == pytest.approx(SIGMA * (norm.ppf(p_label) - norm.ppf(1 / 4)), rel=1e-9)
    two = top_k(2, counts_of([4, 0, 6, 0, 0], [300, 100, 430, 100, 70]), label=0)
    assert two.label_radius_top_k is None  # 0.267 is not above 1/3
    assert two.radius_top_k == pytest.approx(SIGMA * (norm.ppf(p_selected) - norm.ppf(1 / 3)), rel=1e-9)
    none = top_k(1, counts_of([4, 0, 6, 0, 0], [300, 100, 430, 100, 70]), label=2)
    assert none == TopKCertificate(ABSTAIN, None, 430, None)


def test_the_label_needs_no_selection_and_has_all_of_alpha() -> None:
    counts = counts_of([10, 0, 0], [100, 900, 0])  # another class than the label was selected
    found = top_k(1, counts, label=1, bound=RUNNER_UP)
    assert (found.prediction_top_k, found.radius_top_k) == (ABSTAIN, None)
    assert found.label_radius_top_k == Gaussian(SIGMA).radius(float(beta.ppf(ALPHA, 900, 101)))


def test_without_a_label_or_draws_nothing_is_said() -> None:
    assert top_k(2, counts_of([9, 1, 0], [90, 10, 0])).label_radius_top_k is None
    assert top_k(2, counts_of([9, 1, 0], [90, 10, 0])).count_label is None
    rejected = counts_of([0, 0, 0, 5, 5, 0], [60, 0, 0, 40, 0, 0])  # no selection draw was kept
    assert top_k(2, rejected, label=0, bound=RUNNER_UP, rejecting=True).prediction_top_k == ABSTAIN
    stopped = {Role.SELECTION: np.array([5, 5, 0])}  # adaptive sampling may draw no more
    certificate = replace(Fixed(1, 1, ALPHA, Gaussian(1)).conclude(counts_of([5, 5, 0], [0, 0, 0])), p_lower=0.0)
    assert TopK(2, ALPHA, Gaussian(1)).certify(stopped, certificate, 0) == TopKCertificate(ABSTAIN, None, 0, None)


def test_other_bounds_on_the_other_classes_by_hand() -> None:
    """The runner-up's bound is on one class, so that k have k times it; the rejection bound is on all others at once.
    Rejected draws count in n, and for no class.
    """
    alpha = ALPHA / 2
    kept, rejected = [600, 100, 80, 20], [50, 50, 50, 50]
    counts = counts_of([9, 0, 0, 0, 1, 0, 0, 0], [*kept, *rejected])
    p_top, one = beta.ppf(alpha, 600, 401), beta.isf(alpha, 101, 900)
    for bound, together in ((RUNNER_UP, 2 * one), (REJECTION, beta.isf(alpha, 201, 800))):
        assert together < 1 - p_top
        found = top_k(2, counts, label=1, bound=bound, rejecting=True)
        shift = found.radius_top_k / SIGMA if found.radius_top_k else 0.0
        # The condition that defines the radius: 2 Phi(PhiInv(pL) - r) = Phi(PhiInv(m) + r).
        assert 2 * norm.cdf(norm.ppf(p_top) - shift) == pytest.approx(norm.cdf(norm.ppf(together) + shift), rel=1e-9)
        alone = top_k(2, counts, rejecting=True)
        assert found.radius_top_k is not None
        assert alone.radius_top_k is not None
        assert found.radius_top_k > alone.radius_top_k  # than by pA alone, though that has all of alpha
    assert found.label_radius_top_k is None


KEPT = st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(any)


@examples(60)
@given(KEPT, KEPT, KEPT, st.sampled_from(sorted(NOISE_BOUNDS)), st.booleans())
@pytest.mark.parametrize(("noise", "of_norm"), [("gaussian", "l2"), ("gaussian", "linf"), ("uniform", "l1")])
def test_of_one_class_it_is_the_ordinary_certificate(
    noise: str, of_norm: str, selection: Any, estimation: Any, rejected: Any, bound: str, rejecting: bool
) -> None:
    family = noise_family(noise, SIGMA, of_norm, 12)
    more = [[0, 0, 0, 0], rejected] if rejecting else [[], []]
    counts = counts_of([*selection, *more[0]], [*estimation, *more[1]])
    certificate = Fixed(1, 1, ALPHA, family, bound, rejecting=rejecting).conclude(counts)
    found = top_k(1, counts, noise=family, bound=bound, rejecting=rejecting)
    assert found.prediction_top_k == certificate.prediction
    assert (found.radius_top_k or 0.0) == certificate.radius
    larger = top_k(3, counts, noise=family, bound=bound, rejecting=rejecting)
    assert (larger.radius_top_k or 0.0) >= certificate.radius * (1 - 1e-12)


def test_a_certified_level_limits_the_radius() -> None:
    counts = counts_of([9, 1, 0, 0], [900, 50, 30, 20])
    certificate = Fixed(1, 1, ALPHA, Gaussian(SIGMA)).conclude(counts)
    within = TopK(2, ALPHA, Gaussian(SIGMA), same_within=0.1).certify(counts, certificate, 0)
    assert (within.radius_top_k, within.label_radius_top_k) == (0.1, 0.1)
    unknown = TopK(2, ALPHA, Gaussian(SIGMA), same_within=0.0).certify(counts, certificate, 0)
    assert unknown == TopKCertificate(ABSTAIN, None, 900, None)


@pytest.mark.parametrize("noise", [Gaussian(1.0), Uniform(1.0)])
def test_the_labels_radius_is_wrong_at_most_as_often_as_alpha_says(noise: Any) -> None:
    """The worst classifier of a label with probability p: k other classes in equal slices of the rest, which are all
    likelier than the label from a known radius on. Its counts are multinomial.
    """
    k, p, alpha, n, repeats = 3, 0.4, 0.05, 300, 4000
    shares = [p, *[(1 - p) / k] * k]
    true = noise.radius_top_k(p, k)
    random = np.random.default_rng(7)
    drawn = random.multinomial(n, shares, size=repeats)
    radii = {
        count: TopK(k, alpha, noise).certify(counts_of([1, 0, 0, 0], [count, n - count, 0, 0]), ABSTAINS, 0)
        for count in np.unique(drawn[:, 0]).tolist()
    }
    found = np.array([radii[count].label_radius_top_k or 0.0 for count in drawn[:, 0].tolist()])
    wrong = int((found > true).sum())
    assert wrong <= repeats * alpha + 4 * np.sqrt(repeats * alpha)  # 4 standard deviations
    assert wrong >= repeats * alpha / 3  # the bound is not much too careful
    assert (found > 0).mean() > 0.9


ABSTAINS = Fixed(1, 1, ALPHA, Gaussian(1)).conclude(counts_of([1, 0], [1, 1]))


def test_what_is_refused() -> None:
    refuse_no_choice(None, 2)
    refuse_no_choice(9, 10)
    with pytest.raises(RaysmoothError, match="--top-k 10: with 10 classes, every class is always among the 10 most"):
        refuse_no_choice(10, 10)
    refuse_top_k(5, "fixed", asks_api=False)
    for sampling, api, reason in (
        ("decide", False, "which bounds no probability: write --sampling fixed"),
        ("adaptive", False, "gives no draws to an image whose class is not above 1/2"),
        ("fixed", True, "labels of a vision API are an open set"),
    ):
        with pytest.raises(RaysmoothError, match=reason):
            refuse_top_k(5, sampling, api)
