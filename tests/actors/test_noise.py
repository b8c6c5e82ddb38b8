"""Noise belongs to (seed, role, image, block), is Gaussian, and never repeats."""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from actors.noise import Gaussian, Role, open_stream

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
    """The noise of both roles of 30 images, 5 blocks each: no run of numbers of one stream stands in another."""
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


def test_how_a_stream_is_read_does_not_matter() -> None:
    whole, parts = torch.empty(30), torch.empty(30)
    open_stream(CPU, 1, Role.SELECTION, 2, 3).normal_(whole)
    stream = open_stream(CPU, 1, Role.SELECTION, 2, 3)
    for start, stop in ((0, 1), (1, 8), (8, 30)):
        stream.normal_(parts[start:stop])
    assert torch.equal(whole, parts)
