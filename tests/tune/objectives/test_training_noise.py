"""Noise to train on: its distribution, and what decides it."""

from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from base_classifiers import Labels
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm, uniform

import raysmooth.tune.sweeps.sweep as sweep_module
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.noise.families import NOISES, Uniform, noise_family
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings
from raysmooth.tune.sweeps.nested_settings import ValidationSettings
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.validation_certificates import ValidationSet, certify_validation

torch.set_num_threads(1)

CPU = torch.device("cpu")


def drawn(family: str, sigma: float, images: int, seed: int = 0, calls: int = 1) -> list[torch.Tensor]:
    noise = TrainingNoise(family, sigma, CPU)
    noise.begin(seed, images, slice(0, images))
    return [noise(torch.zeros(images, 3, 4, 4)) for _ in range(calls)]


def test_the_families_are_those_of_certifying() -> None:
    assert set(NOISES) == {"gaussian", "uniform"}
    for name in NOISES:
        assert drawn(name, 0.5, 1000)[0].std().item() == pytest.approx(0.5, rel=0.02)
    with pytest.raises(RaysmoothError, match=r"unknown noise family 'gausian': did you mean 'gaussian'\?"):
        TrainingNoise("gausian", 0.5, CPU)


@pytest.mark.parametrize("sigma", [0.25, 1.0])
@pytest.mark.parametrize("family", ["gaussian", "uniform"])
def test_noise_has_the_distribution_asked_for(family: str, sigma: float) -> None:
    """Both have mean 0 and standard deviation sigma: uniform noise lies within sqrt(3) sigma of 0."""
    tensor = drawn(family, sigma, 1000)[0]
    assert tensor.dtype == torch.float32
    values = tensor.numpy().ravel().astype(np.float64)
    count = len(values)
    fourth = {"gaussian": 3.0, "uniform": 9 / 5}[family]  # E x^4 for variance 1
    assert abs(values.mean()) < 4 * sigma / sqrt(count)
    assert abs((values**2).mean() / sigma**2 - 1) < 4 * sqrt((fourth - 1) / count)
    law = {"gaussian": norm(scale=sigma), "uniform": uniform(-sqrt(3) * sigma, 2 * sqrt(3) * sigma)}[family]
    assert kstest(values, law.cdf).pvalue > 1e-3
    if family == "uniform":
        assert 0.999 < np.abs(values).max() / (sqrt(3) * sigma) <= 1 + 1e-6
    pixels = tensor.flatten(1).numpy()
    correlations = np.corrcoef(pixels, rowvar=False)[np.triu_indices(48, 1)]
    assert np.abs(correlations).max() < 5 / sqrt(1000)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 2, 2), (5, 3, 7, 7), (64, 3, 8, 8)])
@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
@pytest.mark.parametrize("family", ["gaussian", "uniform"])
def test_a_seed_gives_these_very_numbers(family: str, sigma: float, shape: tuple[int, ...]) -> None:
    """To the last bit: unit noise of torch's generator, scaled. A training resumed by another version is the same."""
    noise, generator = TrainingNoise(family, sigma, CPU), torch.Generator().manual_seed(7)
    noise.begin(7, shape[0], slice(0, shape[0]))
    for _ in range(2):
        if family == "gaussian":
            expected = torch.randn(shape, generator=generator).mul_(sigma)
        else:
            expected = torch.rand(shape, generator=generator).mul_(2).sub_(1).mul_(sqrt(3)).mul_(sigma)
        assert torch.equal(noise(torch.zeros(shape)), expected)


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
def test_a_seed_decides_and_every_call_is_fresh(family: str) -> None:
    first, second, third = drawn(family, 0.5, 6, seed=3, calls=3)
    assert all(torch.equal(a, b) for a, b in zip(drawn(family, 0.5, 6, 3, 3), (first, second, third), strict=True))
    everything = torch.cat([first, second, third, *drawn(family, 0.5, 6, seed=4, calls=2)])
    assert len({tuple(image) for image in everything.flatten(1).tolist()}) == 30

    noise = TrainingNoise(family, 0.5, CPU)
    for _ in range(2):  # beginning again forgets earlier draws
        noise.begin(3, 6, slice(0, 6))
        assert torch.equal(noise(torch.zeros(6, 3, 4, 4)), first)


@given(
    family=st.sampled_from(["gaussian", "uniform"]),
    batch=st.integers(1, 12),
    cuts=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    seed=st.integers(0, 2**63 - 1),
)
@examples(50)
def test_a_part_has_the_noise_of_the_whole(family: str, batch: int, cuts: tuple[int, int], seed: int) -> None:
    begin, end = sorted(min(cut, batch) for cut in cuts)
    whole, part = TrainingNoise(family, 0.5, CPU), TrainingNoise(family, 0.5, CPU)
    whole.begin(seed, batch, slice(0, batch))
    part.begin(seed, batch, slice(begin, end))
    for _ in range(3):
        of_whole, of_part = whole(torch.zeros(batch, 2, 3, 3)), part(torch.zeros(end - begin, 2, 3, 3))
        assert torch.equal(of_whole[begin:end], of_part)


def test_sigma_0_adds_no_noise_and_sigma_only_scales() -> None:
    assert not drawn("gaussian", 0.0, 2)[0].any()
    assert torch.equal(drawn("uniform", 0.5, 2)[0], drawn("uniform", 0.25, 2)[0] * 2)


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
def test_images_have_noise_of_their_own_sigmas(family: str) -> None:
    """With equal ones it is that of one sigma, to the last bit; the next step has one again."""
    sigmas = torch.tensor([0.01, 0.1, 1.0, 0.1], dtype=torch.float64)
    noise, images = TrainingNoise(family, 0.3, CPU), torch.zeros(4, 3, 4, 4)
    units = drawn(family, 1.0, 4, seed=5, calls=2)
    noise.begin(5, 4, slice(0, 4), sigmas)
    for unit in units:
        assert torch.equal(noise(images), unit * sigmas.float().view(4, 1, 1, 1))
    assert torch.equal(noise.sigma_ratios, (sigmas / 0.3).float())
    noise.begin(5, 4, slice(1, 3), sigmas[1:3])
    assert torch.equal(noise(images[1:3]), units[0][1:3] * sigmas[1:3].float().view(2, 1, 1, 1))
    noise.begin(5, 4, slice(0, 4), torch.full((4,), 0.3, dtype=torch.float64))
    one = noise(images)
    assert torch.equal(noise.sigma_ratios, torch.ones(4))
    noise.begin(5, 4, slice(0, 4))
    assert torch.equal(noise(images), one)
    assert noise.sigma_ratios == 1.0


def test_noise_lies_in_memory_as_the_images_do() -> None:
    noise = TrainingNoise("gaussian", 1.0, CPU)
    images = torch.zeros(4, 3, 5, 6)
    noise.begin(0, 4, slice(0, 4))
    planes = noise(images)
    noise.begin(0, 4, slice(0, 4))
    pixels = noise(images.contiguous(memory_format=torch.channels_last))
    assert planes.is_contiguous()
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(planes, pixels)


def test_noise_for_another_number_of_images_is_an_error() -> None:
    noise = TrainingNoise("gaussian", 1.0, CPU)
    noise.begin(0, 6, slice(2, 5))
    with pytest.raises(ValueError, match="noise for 4 images, the step began with 3"):
        noise(torch.zeros(4, 1, 2, 2))


def test_a_level_means_the_same_in_training_and_in_certifying() -> None:
    """The same sigma, and noise on the same interval."""
    common = {"dataset": "digits", "noise": "uniform:0.5"}
    trained = checked(TrainClassifierSettings, {**common, "classifier": "digits_cnn", "out": "x.safetensors"})
    mse = {**common, "denoiser": "dncnn", "objective": "mse", "out": "x.safetensors"}
    certified = checked(CertifySettings, {**common, "classifier": "digits_cnn"})
    assert trained.sigma == checked(TrainDenoiserSettings, mse).sigma == certified.sigma[0]
    assert trained.noise == certified.noise == "uniform"
    family = noise_family(certified.noise, certified.sigma[0])
    assert isinstance(family, Uniform)
    largest = drawn("uniform", certified.sigma[0], 1000)[0].abs().max().item()
    assert 0.999 * family.half_width < largest <= family.half_width * (1 + 1e-6)
    with pytest.raises(RaysmoothError, match="both give a level: write one"):
        checked(TrainClassifierSettings, {**common, "classifier": "digits_cnn", "sigma": 0.5, "out": "x.safetensors"})


def test_a_sweeps_trials_are_judged_and_certified_under_their_own_noise() -> None:
    shared = {"dataset": "digits", "classifier": "digits_cnn", "objective": "gaussian", "noise": "uniform:0.5"}
    sweep = checked(
        SweepSettings,
        {"train": "classifier", "settings": shared, "search": {"learning_rate": [0.1, 0.01]}, "metric": "acr"},
    )
    certified = sweep_module._certify_settings(sweep, {"learning_rate": 0.1, "seed": 0}, Path("w.safetensors"))
    assert (certified.noise, certified.sigma) == ("uniform", [0.5 / sqrt(3)])
    # A bright and a dark image that no noise of 0.01 confuses: all of n draws agree, pA = alpha^(1/n).
    images = {0: np.full((1, 4, 4), 0.55, np.float32), 1: np.full((1, 4, 4), 0.15, np.float32)}
    model = DenoisedClassifier(None, torch.nn.Identity(), Labels())
    noise, asked = noise_family("uniform", 0.01), ValidationSettings(n0=20, n=100, alpha=0.01)
    rows = certify_validation(model, ValidationSet(images, {0: 5, 1: 2}), asked, noise, CPU)
    expected = 2 * sqrt(3) * 0.01 * (0.01 ** (1 / 100) - 0.5)
    assert rows.radius.tolist() == pytest.approx([expected, expected], rel=1e-9)
    assert rows.correct.tolist() == [True, False]
