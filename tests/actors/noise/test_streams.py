"""Noise depends on (seed, role, image, block) alone, is Gaussian, and never repeats."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from noise_by_hand import normals
from scipy.stats import kstest, norm

import raysmooth.actors.noise.streams
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian, open_stream

CPU = torch.device("cpu")


def numbers(seed: int, role: Role, image_id: int, block: int, size: int = 4) -> tuple[float, ...]:
    out = torch.empty(size)
    open_stream(CPU, seed, role, image_id, block).normal_(out)
    return tuple(out.tolist())


keys = st.tuples(st.integers(0, 2**40), st.sampled_from(Role), st.integers(0, 10**7), st.integers(0, 10**4))


@given(st.lists(keys, min_size=2, max_size=30, unique=True))
def test_streams_of_different_keys_differ(several: list[tuple[int, Role, int, int]]) -> None:
    drawn = {key: numbers(*key) for key in several}
    assert len(set(drawn.values())) == len(several)
    assert drawn == {key: numbers(*key) for key in reversed(several)}


def test_selection_and_estimation_draws_never_overlap() -> None:
    """The noise of both roles of 30 images, 5 blocks each: no sequence of numbers of one stream occurs in another."""
    streams = [numbers(7, role, image, block, 500) for role in Role for image in range(30) for block in range(5)]
    pairs = Counter(pair for stream in streams for pair in pairwise(stream))
    assert max(pairs.values()) == 1


def test_noise_is_standard_normal_scaled() -> None:
    noisy = torch.empty(400, 1, 16, 16)
    Gaussian(0.25).add_(open_stream(CPU, 0, Role.ESTIMATION, 3, 1), noisy, torch.full((1, 16, 16), 0.5))
    values = (noisy.numpy().ravel() - 0.5) / 0.25
    assert kstest(values.astype(np.float64), "norm").pvalue > 1e-3
    pixels = values.reshape(400, -1)
    correlations = np.corrcoef(pixels[:, :20], rowvar=False)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(400)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 25, 64, 784, 3072])
def test_numbers_are_those_of_an_independent_computation(size: int) -> None:
    expected = normals(5, Role.ESTIMATION, 17, 3, 3 * size)
    out, stream = torch.empty(3, size), open_stream(CPU, 5, Role.ESTIMATION, 17, 3)
    for row in out:
        stream.normal_(row, 0.5)
    np.testing.assert_allclose(out.numpy().ravel(), 0.5 * expected, rtol=1e-4, atol=1e-6)


@given(st.lists(st.integers(0, 70), min_size=1, max_size=12), st.lists(st.sampled_from([0.25, 1.0, 3.0]), min_size=12))
def test_numbers_do_not_depend_on_how_a_stream_is_divided(sizes: list[int], scales: list[float]) -> None:
    whole = torch.empty(sum(sizes))
    open_stream(CPU, 1, Role.SELECTION, 2, 3).normal_(whole)
    stream = open_stream(CPU, 1, Role.SELECTION, 2, 3)
    for expected, scale in zip(whole.split(sizes), scales, strict=False):
        part = torch.empty(len(expected))
        stream.normal_(part, scale)
        assert torch.equal(part, scale * expected)


@pytest.mark.parametrize("shape", [(1, 5, 5), (1, 8, 8), (3, 32, 32)])
def test_noisy_copies_do_not_depend_on_their_batches(shape: tuple[int, int, int]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    copies = []
    for batch in (7, 1, 3):
        stream, out = open_stream(CPU, 0, Role.ESTIMATION, 1, 2), torch.empty(21, *shape)
        for start in range(0, 21, batch):
            Gaussian(0.5).add_(stream, out[start : start + batch], image)
        copies.append(out)
    assert torch.equal(copies[0], copies[1])
    assert torch.equal(copies[0], copies[2])


def test_moments_and_tails_are_those_of_a_normal() -> None:
    """Within 4.5 standard errors, for 4 million numbers from 40 streams."""
    count = 100_000
    values = torch.empty(40, count)
    for image, row in enumerate(values):
        open_stream(CPU, 11, Role.ESTIMATION, image, 0).normal_(row)
    z = values.double().numpy().ravel()
    for power, moment, fourth in ((1, 0, 1), (2, 1, 3), (3, 0, 15), (4, 3, 105)):
        error = np.sqrt((fourth - moment**2) / z.size)
        assert abs((z**power).mean() - moment) < 4.5 * error
    for bound in (1.0, 2.0, 3.0, 4.0, 4.5, 5.0):
        for tail in ((z > bound).sum(), (z < -bound).sum()):
            expected = norm.sf(bound) * z.size
            assert abs(tail - expected) < 4.5 * np.sqrt(expected) + 4.5
    assert np.abs(z).max() < 5.78
    assert kstest(z[::7], "norm").pvalue > 1e-3


def test_streams_are_independent() -> None:
    """Of neighbouring images, blocks and roles; and within a stream, at the lags of Box and Muller's pairs."""
    count = 200_000
    keys = [(role, image, block) for role in Role for image in (0, 1) for block in (0, 1, 256)]
    values = torch.empty(len(keys), count)
    for row, key in zip(values, keys, strict=True):
        open_stream(CPU, 0, *key).normal_(row)
    for rows in (values, values**2, values.abs() > 2):
        correlations = np.corrcoef(rows.double().numpy())[np.triu_indices(len(keys), 1)]
        assert np.abs(correlations).max() < 5 / np.sqrt(count)
    for lag in (1, 2, 7, 8, 9, 16, 624):
        for row in (values[0], values[0] ** 2):
            assert abs(np.corrcoef(row[:-lag].numpy(), row[lag:].numpy())[0, 1]) < 5 / np.sqrt(count)


def test_another_layout_of_the_generators_state_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raysmooth.actors.noise.streams, "_TWISTER", slice(4, 628))
    raysmooth.actors.noise.streams._blank_state.cache_clear()
    with pytest.raises(RuntimeError, match="stores its generator's state in another layout"):
        open_stream(CPU, 0, Role.SELECTION, 0, 0)


def test_only_the_first_stream_checks_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run opens millions of streams: each must take microseconds, and the check takes longer."""
    raysmooth.actors.noise.streams._blank_state.cache_clear()
    checked = []
    twister = np.random.MT19937
    monkeypatch.setattr(np.random, "MT19937", lambda *seed: checked.append(seed) or twister(*seed))
    open_stream(CPU, 0, Role.SELECTION, 0, 0)
    of_the_first = len(checked)
    for image_id in range(1, 100):
        open_stream(CPU, 0, Role.SELECTION, image_id, 0)
    assert len(checked) == of_the_first > 0


@given(st.floats(0.01, 4), st.floats(0, 10))
def test_the_needed_bound_gives_the_radius_and_none_much_smaller_does(sigma: float, radius: float) -> None:
    noise = Gaussian(sigma)
    needed = noise.needed(radius)
    assert 0.5 <= needed <= 1.0
    assert noise.radius(needed) >= radius
    less = needed - 1e-14 - 1e-9 * (1 - needed)
    assert radius == 0 or noise.radius(less) < radius


def test_needed_bound_by_hand() -> None:
    # Tables: Phi(1) = 0.8413447, Phi(2) = 0.9772499; at least 1/2, and only 1 beyond 8.3 sigma.
    assert Gaussian(0.5).needed(0.5) == pytest.approx(0.8413447, abs=5e-8)
    assert Gaussian(0.25).needed(0.5) == pytest.approx(0.9772499, abs=5e-8)
    assert Gaussian(0.25).needed(0.0) == 0.5
    assert Gaussian(0.25).needed(2.5) == 1.0
