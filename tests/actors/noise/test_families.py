"""Uniform noise and its l1 radius, Gaussian noise and its linf radius: worked values, the truth where it is known, and
what is drawn.
"""

from fractions import Fraction
from math import inf, nextafter, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from noise_by_hand import uniforms
from scipy.stats import kstest, norm, uniform

from raysmooth.actors.noise.families import NOISES, GaussianLinf, Uniform, noise_family
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian, open_stream
from raysmooth.common.errors import RaysmoothError

CPU = torch.device("cpu")

sigmas, probabilities = st.floats(0.01, 4), st.floats(0.5, 1)


def cube(half_width: float) -> Uniform:
    """Uniform noise on [-half_width, half_width]."""
    return Uniform(Uniform.sigma_of(half_width))


def test_l1_radius_by_hand() -> None:
    # lambda = 0.5: 2 * 0.5 * (pA - 0.5) = pA - 0.5; with a separate pB 0.5 (pA - pB).
    assert cube(0.5).radius(0.75) == 0.25
    assert cube(0.5).radius(1.0) == 0.5
    assert cube(0.5).radius(0.5) == 0.0
    assert cube(0.5).radius(0.25) == 0.0
    assert cube(0.5).radius(0.75, 0.125) == 0.3125
    assert cube(0.5).radius(0.4, 0.5) == 0.0
    # lambda = 0.3, pA = 0.9: 0.6 * 0.4 = 0.24. sigma = 1: lambda = 1.7320508, and 2 * 1.7320508 * 0.25 = 0.8660254.
    assert cube(0.3).radius(0.9) == pytest.approx(0.24, rel=1e-14)
    assert Uniform(1.0).radius(0.75) == pytest.approx(0.8660254, abs=5e-8)


def test_the_l1_radius_is_not_that_of_a_larger_cube_than_was_sampled() -> None:
    # sqrt(3)/2 is 0.866025403784..., in float32 0.866025388...; 0.3 is in float32 0.300000011...
    noise = Uniform(0.5)
    assert noise.radius(1.0) == float(np.float32(3**0.5 / 2)) < noise.half_width
    assert noise.radius(0.75, 0.25) == pytest.approx(float(np.float32(3**0.5 / 2)) / 2, rel=1e-15)
    assert cube(0.3).radius(1.0) == 0.3 < float(np.float32(0.3))
    # torch draws one of 2^24 float32 numbers in [0, 1); the lowest gives the end of the cube.
    out = torch.empty(1 << 22)
    open_stream(CPU, 5, Role.ESTIMATION, 17, 3).uniform_(out, noise.half_width)
    assert float(out.double().abs().max()) <= noise.drawn_half_width < noise.half_width


def test_linf_radius_by_hand() -> None:
    # Phi(1) = 0.8413447: the l2 radius is sigma = 0.5; d = 4: 0.25; d = 3072, sqrt(d) = 55.425626: 0.00902110.
    assert GaussianLinf(0.5, 4).radius(0.841344746068543) == pytest.approx(0.25, rel=1e-12)
    assert GaussianLinf(0.5, 3072).radius(0.841344746068543) == pytest.approx(0.00902110, abs=5e-9)
    # PhiInv(0.9772499) = 2, PhiInv(0.1586553) = -1: l2 radius 0.5 / 2 * 3 = 0.75.
    assert GaussianLinf(0.5, 9).radius(0.977249868051821, 0.158655253931457) == pytest.approx(0.25, rel=1e-12)
    assert GaussianLinf(0.5, 9).radius(0.3) == 0.0
    assert GaussianLinf(0.5, 1).radius(0.9) == Gaussian(0.5).radius(0.9)
    assert GaussianLinf(0.5, 9).radius(1.0) == inf


@given(st.floats(0.01, 10), probabilities, st.floats(0, 1))
def test_an_l1_radius_is_never_rounded_up(half_width: float, p_top: float, p_other: float) -> None:
    noise = cube(half_width)
    width, top, other = (Fraction(x) for x in (noise.drawn_half_width, p_top, p_other))
    single = np.float32(noise.half_width)  # torch's bound of the draws
    assert np.nextafter(single, np.float32(0)) <= noise.drawn_half_width <= min(noise.half_width, float(single))
    for radius, exact in (
        (noise.radius(p_top), 2 * width * (top - Fraction(1, 2))),
        (noise.radius(p_top, p_other), max(Fraction(0), width * (top - other))),
    ):
        assert radius <= exact
        assert Fraction(nextafter(nextafter(radius, inf), inf)) > exact * (1 - Fraction(1, 2**50))


@given(sigmas, st.integers(1, 200_000), probabilities.filter(lambda p: p < 1))
def test_a_linf_radius_is_never_rounded_up(sigma: float, pixels: int, p_top: float) -> None:
    radius, whole = GaussianLinf(sigma, pixels).radius(p_top), Gaussian(sigma).radius(p_top)
    assert Fraction(radius) ** 2 * pixels <= Fraction(whole) ** 2
    assert radius == pytest.approx(whole / sqrt(pixels), rel=1e-15)


@given(st.one_of(st.builds(Uniform, sigmas), st.builds(GaussianLinf, sigmas, st.integers(1, 4000))), st.floats(0, 3))
def test_the_needed_bound_gives_the_radius_and_none_much_smaller_does(
    noise: Uniform | GaussianLinf, radius: float
) -> None:
    needed = noise.needed(radius)
    assert 0.5 <= needed <= 1.0
    if isinstance(noise, Uniform) and radius > noise.drawn_half_width:
        assert needed == 1.0  # no probability reaches it
        return
    assert noise.radius(needed) >= radius
    assert radius == 0 or noise.radius(needed - 1e-14 - 1e-9 * (1 - needed)) < radius


def test_needed_bound_by_hand() -> None:
    assert cube(0.5).needed(0.25) == 0.75
    assert cube(0.5).needed(0.0) == 0.5
    assert cube(0.5).needed(0.5) == cube(0.5).needed(0.7) == 1.0
    assert GaussianLinf(0.5, 4).needed(0.25) == pytest.approx(0.8413447, abs=5e-8)


@pytest.mark.parametrize("dimensions", [1, 4, 64])
def test_the_corner_is_where_a_linf_radius_ends(dimensions: int) -> None:
    """The half-space sum(z) > 0 smoothed: P(class 1) = Phi(sum(x) / (sigma sqrt(d))) exactly. Towards the corner, all
    coordinates lowered alike, its class changes at the radius and not before; any other way, no sooner.
    """
    sigma, rng = 0.25, np.random.default_rng(dimensions)
    image = rng.random(dimensions) * 0.1

    def p_one(x: np.ndarray) -> float:
        return float(norm.cdf(x.sum() / (sigma * sqrt(dimensions))))

    radius = GaussianLinf(sigma, dimensions).radius(p_one(image))
    assert p_one(image - radius * (1 - 1e-9)) > 0.5 > p_one(image - radius * (1 + 1e-9))
    for _ in range(200):
        assert p_one(image + rng.uniform(-1, 1, dimensions) * radius * (1 - 1e-9)) > 0.5
    # The l2 radius is wrong in linf: the class changes within that cube (on a line the two are equal).
    longer = Gaussian(sigma).radius(p_one(image))
    assert dimensions == 1 or p_one(image - longer * (1 - 1e-9)) < 0.5


def numbers(key: tuple[int, Role, int, int], size: int, scale: float = 1.0) -> torch.Tensor:
    out = torch.empty(size)
    open_stream(CPU, *key).uniform_(out, scale)
    return out


def test_uniform_numbers_are_those_of_an_independent_computation() -> None:
    for size in (1, 17, 784, 3072):
        drawn = numbers((5, Role.ESTIMATION, 17, 3), size, 0.75)
        np.testing.assert_allclose(
            drawn.numpy(), 0.75 * uniforms(5, Role.ESTIMATION, 17, 3, size), rtol=1e-6, atol=1e-7
        )


@given(st.lists(st.integers(0, 70), min_size=1, max_size=12))
def test_numbers_do_not_depend_on_how_a_stream_is_divided(sizes: list[int]) -> None:
    whole = numbers((1, Role.SELECTION, 2, 3), sum(sizes))
    stream = open_stream(CPU, 1, Role.SELECTION, 2, 3)
    for expected in whole.split(sizes):
        part = torch.empty(len(expected))
        stream.uniform_(part)
        assert torch.equal(part, expected)


def test_noisy_copies_do_not_depend_on_their_batches() -> None:
    image = torch.rand((3, 8, 8), generator=torch.Generator().manual_seed(0))
    copies = []
    for batch in (7, 1, 3):
        stream, out = open_stream(CPU, 0, Role.ESTIMATION, 1, 2), torch.empty(21, 3, 8, 8)
        for start in range(0, 21, batch):
            cube(0.5).add_(stream, out[start : start + batch], image)
        copies.append(out)
    assert torch.equal(copies[0], copies[1])
    assert torch.equal(copies[0], copies[2])


def test_noise_is_uniform_within_its_bounds() -> None:
    """Bounds, mean, variance sigma^2 and fourth moment within 4.5 standard errors, for a million numbers."""
    noise, image = cube(0.5), torch.full((1, 50, 50), 0.5)
    noisy = torch.empty(400, 1, 50, 50)
    noise.add_(open_stream(CPU, 0, Role.ESTIMATION, 3, 1), noisy, image)
    values = noisy.double().numpy().ravel() - 0.5
    assert 0.4999 < np.abs(values).max() <= 0.5
    for power, moment, twice in ((1, 0.0, 1 / 12), (2, 1 / 12, 1 / 80), (4, 1 / 80, 0.5**8 / 9)):
        error = np.sqrt((twice - moment**2) / values.size)
        assert abs((values**power).mean() - moment) < 4.5 * error
    assert values.std() == pytest.approx(noise.scale, rel=0.005)
    assert kstest(values[::7], uniform(-0.5, 1).cdf).pvalue > 1e-3
    pixels = noisy.flatten(1).numpy()[:, :30]
    assert np.abs(np.corrcoef(pixels, rowvar=False)[np.triu_indices(30, 1)]).max() < 5 / np.sqrt(400)


def test_streams_of_different_keys_are_independent() -> None:
    keys = [(0, role, image, block) for role in Role for image in (0, 1) for block in (0, 1, 256)]
    values = torch.stack([numbers(key, 100_000) for key in keys]).double().numpy()
    for rows in (values, values**2):
        assert np.abs(np.corrcoef(rows)[np.triu_indices(len(keys), 1)]).max() < 5 / np.sqrt(100_000)


@given(st.integers(1, 10**6).map(lambda hundredths: hundredths / 1000))
def test_lambda_comes_back_from_sigma(half_width: float) -> None:
    assert cube(half_width).half_width == half_width


def test_a_family_by_name_and_norm() -> None:
    assert noise_family("gaussian", 0.5) == noise_family("gaussian", 0.5, "l2") == Gaussian(0.5)
    assert noise_family("gaussian", 0.5, "linf", 64) == GaussianLinf(0.5, 64)
    assert noise_family("uniform", 0.5) == noise_family("uniform", 0.5, "l1") == Uniform(0.5)
    for name, entry in NOISES.items():
        for norm_, make in entry.norms.items():
            assert (make(0.5, 4).name, make(0.5, 4).norm, make(0.5, 4).scale) == (name, norm_, 0.5)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (("gausian", 0.5), "unknown noise family 'gausian': did you mean 'gaussian'?"),
        (("gaussian", 0.5, "l1"), "--norm l1: gaussian noise gives radii in l2 or linf: write --norm l2 or linf, or "),
        (("uniform", 0.5, "l2"), "--norm l2: uniform noise gives radii in l1: write --norm l1, or --noise gaussian"),
        (("uniform", 0.0), "sigma must be a positive number, not 0"),
        (("gaussian", -1.0, "linf", 4), "sigma must be a positive number, not -1"),
    ],
)
def test_invalid_families_are_refused(given_: tuple, message: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        noise_family(*given_)
    assert str(refused.value).startswith(message)


def test_a_family_at_another_level_keeps_its_norm() -> None:
    assert Gaussian(0.25).at(0.5) == Gaussian(0.5)
    assert GaussianLinf(0.25, 784).at(0.5) == GaussianLinf(0.5, 784)
    assert Uniform(0.25).at(0.5) == Uniform(0.5)
    with pytest.raises(RaysmoothError, match="sigma must be a positive number, not 0"):
        Gaussian(0.25).at(0.0)


@pytest.mark.parametrize(("name", "sigma", "parameter"), [("gaussian", 0.3, 0.3), ("uniform", 1 / sqrt(3), 1.0)])
def test_the_parameter_of_a_level(name: str, sigma: float, parameter: float) -> None:
    assert NOISES[name].of_sigma(sigma) == parameter
    assert NOISES[name].sigma_of(parameter) == pytest.approx(sigma, rel=1e-15)
