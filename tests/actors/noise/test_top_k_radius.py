"""The radius within which a class stays among the k most likely: by another root finder, and by classifiers whose
smoothed probabilities are known exactly.
"""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy.stats import norm

from raysmooth.actors.noise.families import Uniform, noise_family
from raysmooth.actors.noise.streams import Gaussian

PROBABILITIES = st.floats(1e-6, 1 - 1e-9)


def exact_root(p_top: float, k: int, p_others: float | None) -> mpf:
    """The r at which k Phi(PhiInv(pL) - r) = Phi(PhiInv(m) + r), by mpmath in 50 digits; negative where r = 0 fails."""
    with mp.workdps(50):
        top, others = mpf(p_top), 1 - mpf(p_top) if p_others is None else mpf(p_others)

        def inverse(p: mpf) -> mpf:
            low, high = mpf(-40), mpf(40)
            for _ in range(180):
                middle = (low + high) / 2
                low, high = (middle, high) if mp.ncdf(middle) < p else (low, middle)
            return low

        a, b = inverse(top), inverse(others)
        low, high = mpf(-40), mpf(40)
        for _ in range(180):
            middle = (low + high) / 2
            stays = k * mp.ncdf(a - middle) > mp.ncdf(b + middle)
            low, high = (middle, high) if stays else (low, middle)
        return high


@pytest.mark.parametrize(
    ("p_top", "five", "one"), [(0.3, 0.443, 0), (0.4, 0.714, 0), (0.5, 0.967, 0), (0.8, 1.809, 0.842)]
)
def test_worked_values(p_top: float, five: float, one: float) -> None:
    """PhiInv(1/6) = -0.9674, PhiInv(0.4) = -0.2533: 0.7141. Of one class it is PhiInv(pL)."""
    assert Gaussian(1.0).radius_top_k(p_top, 5) == pytest.approx(five, abs=6e-4)
    assert Gaussian(1.0).radius_top_k(p_top, 1) == pytest.approx(one, abs=6e-4)


@pytest.mark.parametrize("k", [2, 5, 20])
@pytest.mark.parametrize(("p_top", "share"), [(0.004, 0.3), (0.2, None), (0.5, 0.9), (0.9, None), (0.99999, 1e-4)])
def test_it_is_the_exact_root_rounded_down(k: int, p_top: float, share: float | None) -> None:
    p_others = None if share is None else share * (1 - p_top)
    exact = exact_root(p_top, k, p_others)
    found = Gaussian(1.0).radius_top_k(p_top, k, p_others)
    assert mpf(found) <= max(exact, mpf(0))
    assert found == pytest.approx(max(float(exact), 0.0), abs=1e-9)


@examples(100)
@given(p_top=PROBABILITIES, k=st.integers(2, 1000), sigma=st.floats(0.01, 3))
def test_with_pl_alone_it_is_a_difference_of_quantiles(p_top: float, k: int, sigma: float) -> None:
    expected = sigma * (norm.ppf(p_top) - norm.ppf(1 / (k + 1)))
    found = Gaussian(sigma).radius_top_k(p_top, k)
    assert found == pytest.approx(max(expected, 0.0), rel=1e-9, abs=1e-9)
    assert Gaussian(sigma).radius_top_k(p_top, k, 1 - p_top) == pytest.approx(found, rel=1e-6, abs=1e-9)


@examples(100)
@given(p_top=PROBABILITIES, share=st.none() | st.floats(0.001, 1), sigma=st.floats(0.01, 3))
@pytest.mark.parametrize(("noise", "norm_"), [("gaussian", "l2"), ("gaussian", "linf"), ("uniform", "l1")])
def test_of_one_class_it_is_the_radius(noise: str, norm_: str, p_top: float, share: float | None, sigma: float) -> None:
    family, p_others = noise_family(noise, sigma, norm_, 48), None if share is None else share * (1 - p_top)
    assert family.radius_top_k(p_top, 1, p_others) == family.radius(p_top, p_others)


@examples(100)
@given(p_top=PROBABILITIES, more=st.floats(0, 0.1), k=st.integers(1, 50), share=st.none() | st.floats(0.001, 1))
@pytest.mark.parametrize(("noise", "norm_"), [("gaussian", "l2"), ("gaussian", "linf"), ("uniform", "l1")])
def test_it_grows_with_pl_and_with_k(
    noise: str, norm_: str, p_top: float, more: float, k: int, share: float | None
) -> None:
    family, larger = noise_family(noise, 0.5, norm_, 48), min(p_top + more, 1 - 1e-9)
    p_others = None if share is None else share * (1 - larger)
    radius = family.radius_top_k(p_top, k, p_others)
    assert family.radius_top_k(larger, k, p_others) >= radius
    assert family.radius_top_k(p_top, k + 1, p_others) >= radius * (1 - 1e-12)


def test_in_linf_it_is_divided_by_the_root_of_the_pixels_and_rounded_down() -> None:
    l2, linf = Gaussian(0.5).radius_top_k(0.4, 5), noise_family("gaussian", 0.5, "linf", 48).radius_top_k(0.4, 5)
    assert linf == pytest.approx(l2 / sqrt(48))
    assert Fraction(linf) ** 2 * 48 <= Fraction(l2) ** 2


@examples(100)
@given(p_top=PROBABILITIES, k=st.integers(2, 1000), share=st.none() | st.floats(0, 1))
def test_of_uniform_noise_it_is_linear_and_rounded_down(p_top: float, k: int, share: float | None) -> None:
    noise, p_others = Uniform(0.5), None if share is None else share * (1 - p_top)
    others = 1 - Fraction(p_top) if p_others is None else Fraction(p_others)
    exact = 2 * Fraction(noise.drawn_half_width) * (k * Fraction(p_top) - others) / (k + 1)
    found = noise.radius_top_k(p_top, k, p_others)
    assert Fraction(found) <= max(exact, Fraction(0))
    assert found == pytest.approx(max(float(exact), 0.0), rel=1e-12)
    # 2 lambda (pL - 1 / (k + 1)): lambda is 0.866, pL 0.4 and k 5 give 1.732 * (0.4 - 0.1667) = 0.4041.
    assert noise.radius_top_k(0.4, 5) == pytest.approx(0.40415, abs=1e-4)


def gaussian_shares(edges: np.ndarray, at: float) -> np.ndarray:
    """The probabilities of the intervals between `edges` under N(at, 1)."""
    return np.diff(norm.cdf(np.concatenate([[-np.inf], edges, [np.inf]]) - at))


def uniform_shares(edges: np.ndarray, at: float) -> np.ndarray:
    """The same under uniform noise on [at - lambda, at + lambda] of standard deviation 1."""
    half = Uniform(1.0).half_width
    ends = np.clip(np.concatenate([[-np.inf], edges, [np.inf]]), at - half, at + half)
    return np.diff(ends) / (2 * half)


@pytest.mark.parametrize(("noise", "shares"), [(Gaussian(1.0), gaussian_shares), (Uniform(1.0), uniform_shares)])
def test_classes_stay_among_the_k_most_likely_of_exact_classifiers(noise: Gaussian | Uniform, shares: object) -> None:
    """Classifiers of one pixel that are constant between edges: all probabilities are known at every shift. With its
    true probability, and with those of the k largest others, a class never leaves the k most likely inside its radius.
    """
    assert callable(shares)
    random = np.random.default_rng(0)
    met = 0
    for _ in range(20):
        classes, pieces = int(random.integers(3, 7)), int(random.integers(4, 12))
        edges, labels = np.sort(random.normal(0, 1.5, pieces)), random.integers(0, classes, pieces + 1)

        def at(shift: float, edges: np.ndarray = edges, labels: np.ndarray = labels, of: int = classes) -> np.ndarray:
            return np.bincount(labels, shares(edges, shift), minlength=of)

        own = at(0.0)
        for k in range(1, classes):
            for label in range(classes):
                together = float(np.sort(np.delete(own, label))[::-1][:k].sum())
                for others in (None, min(together + 1e-12, 1 - own[label])):
                    if not 0 < own[label] < 1 or others == 0:
                        continue
                    radius = noise.radius_top_k(float(own[label]), k, others)
                    if radius == 0:  # it may not be among them even here
                        continue
                    met += 1
                    for shift in np.linspace(-radius, radius, 7):
                        there = at(float(shift) * (1 - 1e-9))
                        assert (np.delete(there, label) > there[label]).sum() < k
    assert met > 100


@pytest.mark.parametrize("k", [1, 2, 5])
def test_no_larger_radius_follows_from_pl_alone(k: int) -> None:
    """Behind a hyperplane k other classes share the rest in equal slices along it: just beyond R each is likelier."""
    p_top = 0.45 if k > 1 else 0.7
    radius = Gaussian(1.0).radius_top_k(p_top, k)
    for shift, leaves in ((radius * (1 - 1e-9), False), (radius * (1 + 1e-9), True)):
        kept = norm.cdf(norm.ppf(p_top) - shift)
        assert ((1 - kept) / k > kept) == leaves
