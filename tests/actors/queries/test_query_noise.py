"""The noise of queries, and the names of draws."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raysmooth.actors.noise.families import NOISES, Gaussian, Uniform
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.queries.noise import SAMPLERS, generator_of, noise_of

BLANK = image_digest(np.zeros((1, 2, 2), np.float32))
GAUSSIAN = [-0.14519792795181274, 0.48782268166542053, 0.16301386058330536, -0.48945051431655884]
UNIFORM = [-0.7370412349700928, -0.4844927489757538, -0.21650804579257965, -0.10076679289340973]


def test_digests_are_of_shape_type_and_numbers() -> None:
    zeros = np.zeros((1, 2, 2), np.float32)
    assert image_digest(zeros) == hashlib.sha256(b"float32(1, 2, 2)" + bytes(16)).hexdigest()
    assert image_digest(zeros.astype(np.float64)) == image_digest(zeros)
    assert image_digest(zeros.reshape(1, 1, 4)) != image_digest(zeros)
    image = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    turned = np.ascontiguousarray(image.transpose(1, 2, 0)).transpose(2, 0, 1)  # another order in memory
    assert image_digest(turned) == image_digest(image)
    assert image_digest(image.astype(">f4")) == image_digest(image)


def test_the_numbers_stay_as_they_are() -> None:
    """They name pictures that were paid for: a numpy that changed them would ask for all of these again."""
    key = DrawKey(BLANK, Role.SELECTION, 3)
    assert noise_of(key, 7, Gaussian(0.5), (1, 2, 2)).ravel().tolist() == GAUSSIAN
    assert noise_of(key, 7, Uniform(0.5), (1, 2, 2)).ravel().tolist() == UNIFORM


def test_all_families_can_be_sampled() -> None:
    assert set(SAMPLERS) == set(NOISES)


def test_the_distributions() -> None:
    drawn = [
        np.concatenate(
            [noise_of(DrawKey(BLANK, Role.ESTIMATION, draw), 1, family, (1, 50, 50)).ravel() for draw in range(8)]
        )
        for family in (Gaussian(0.25), Uniform(0.25))
    ]
    assert all(one.dtype == np.float32 for one in drawn)
    assert stats.kstest(drawn[0], stats.norm(0, 0.25).cdf).pvalue > 0.001
    width = 0.25 * 3**0.5
    assert stats.kstest(drawn[1], stats.uniform(-width, 2 * width).cdf).pvalue > 0.001
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 1  # the same generators, other numbers


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Role.SELECTION, Role.ESTIMATION]),
            st.integers(0, 2**33),
            st.integers(0, 2**40),
            st.sampled_from([BLANK, image_digest(np.ones((1, 2, 2), np.float32))]),
        ),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_other_draws_have_other_noise(places: list[tuple[Role, int, int, str]]) -> None:
    """Another role, number, seed or image."""
    first = {
        tuple(generator_of(DrawKey(image, role, draw), seed).integers(0, 2**63, 2).tolist())
        for role, draw, seed, image in places
    }
    assert len(first) == len(places)
