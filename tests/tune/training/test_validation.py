"""Held-out metrics, on images, noise and classifiers whose every number is written down."""

from collections.abc import Sequence
from math import log10

import pytest
import torch
from scripted import Scale

from raysmooth.tune.data.augment import AUGMENTATIONS, Augmentation
from raysmooth.tune.data.memory_images import MemoryImages
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.training.training_data import NO_LABEL
from raysmooth.tune.training.validation import (
    BATCH,
    MOST_DRAWS,
    NOISY_COPIES,
    SEED,
    accuracy,
    judge_denoiser,
    noisy_accuracy,
)

torch.set_num_threads(1)

CPU = torch.device("cpu")


def held_out(values: torch.Tensor, labels: Sequence[int]) -> MemoryImages:
    augmentation = AUGMENTATIONS["none"]
    assert isinstance(augmentation, Augmentation)
    return MemoryImages(values, torch.arange(len(values)), torch.tensor(labels), augmentation)


def pixels(*values: float) -> torch.Tensor:
    """Images of one pixel."""
    return torch.tensor(values).view(-1, 1, 1, 1)


def bright(images: torch.Tensor) -> torch.Tensor:
    """Label 1 for images that are brighter than a half."""
    assert not torch.is_grad_enabled()
    return (images.mean((1, 2, 3)) > 0.5).long()


class ScriptedNoise(TrainingNoise):
    """The same number on every pixel, another in each batch, in turn; writes down how it is begun."""

    def __init__(self, *levels: float) -> None:
        super().__init__("gaussian", 1.0, CPU)
        self.levels = levels
        self.begun: list[tuple[int, int, slice]] = []

    def begin(self, seed: int, batch: int, part: slice) -> None:
        self.begun.append((seed, batch, part))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full_like(images, self.levels[(len(self.begun) - 1) % len(self.levels)])


def test_accuracy_counts_right_labels() -> None:
    # Said to be 0, 0, 1, 1: three of them right.
    assert accuracy(bright, held_out(pixels(0.1, 0.4, 0.6, 0.9), [0, 1, 1, 1])) == 0.75
    many = held_out(torch.linspace(0, 1, 601).view(-1, 1, 1, 1), [0] * 601)  # over several batches
    assert accuracy(bright, many) == 301 / 601


def test_noisy_accuracy_counts_right_labels_of_noisy_images() -> None:
    """Three images, ten draws: with +0.3 they are said to be 0, 1, 1 and with -0.3 0, 0, 1."""
    images = held_out(pixels(0.1, 0.4, 0.9), [0, 1, 0])
    noise = ScriptedNoise(0.3, -0.3)
    assert noisy_accuracy(bright, images, noise) == (5 * 2 + 5 * 1) / 30
    assert [batch for _, batch, _ in noise.begun] == [3] * 10
    assert noisy_accuracy(bright, images, ScriptedNoise(0.0)) == 1 / 3


@pytest.mark.parametrize(("count", "draws"), [(3, 10), (199, 10), (200, 10), (201, 10), (600, 4), (2000, 1), (2300, 1)])
def test_few_images_are_judged_several_times_each_with_noise_of_its_own(count: int, draws: int) -> None:
    assert (NOISY_COPIES, MOST_DRAWS, BATCH) == (2000, 10, 250)
    noise = ScriptedNoise(0.0)
    assert noisy_accuracy(bright, held_out(torch.zeros(count, 1, 1, 1), [0] * count), noise) == 1.0
    assert sum(batch for _, batch, _ in noise.begun) == draws * count
    assert all(part == slice(0, batch) and batch <= 250 for _, batch, part in noise.begun)
    seeds = [seed for seed, _, _ in noise.begun]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) == SEED


def test_psnr_worked_out_by_hand() -> None:
    """Halving 0.4 and 1.0 errs by 0.2 and 0.5; halving noisy pixels, 0.2 brighter, by 0.1 less."""
    images = held_out(pixels(0.4, 1.0), [0, 1])
    assert judge_denoiser(Scale(0.5), [], images, ScriptedNoise(0.0)) == {
        "psnr": pytest.approx(10 * log10(1 / ((0.04 + 0.25) / 2)), rel=1e-6)
    }
    assert judge_denoiser(Scale(0.5), [], images, ScriptedNoise(0.2)) == {
        "psnr": pytest.approx(10 * log10(1 / ((0.01 + 0.16) / 2)), rel=1e-6)
    }
    assert judge_denoiser(Scale(1.0), [], images, ScriptedNoise(0.0)) == {"psnr": float("inf")}


def test_psnr_is_of_all_pixels_alike() -> None:
    """260 images in batches of 250 and 10, eight draws: only the last 10 err, by 0.3."""
    values = torch.cat([torch.zeros(250, 1, 2, 3), torch.full((10, 1, 2, 3), 0.6)])
    images = held_out(values, [0] * 260)
    expected = 10 * log10(260 / (10 * 0.09))
    assert judge_denoiser(Scale(0.5), [], images, ScriptedNoise(0.0))["psnr"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
@pytest.mark.parametrize("sigma", [0.12, 1.0])
def test_psnr_of_doing_nothing_is_that_of_the_noise(family: str, sigma: float) -> None:
    """Mean squared error sigma^2 over 384,000 numbers: 4 standard errors are at most 0.04 dB."""
    images = held_out(torch.rand(250, 3, 8, 8, generator=torch.Generator().manual_seed(0)), [0] * 250)
    metrics = judge_denoiser(torch.nn.Identity(), [], images, TrainingNoise(family, sigma, CPU))
    assert metrics == {"psnr": pytest.approx(-20 * log10(sigma), abs=0.04)}


@pytest.mark.parametrize(("level", "right"), [(0.0, 0.5), (0.2, 1.0)])
def test_denoised_accuracy_is_of_what_the_denoiser_gives(level: float, right: float) -> None:
    """0.4 and 0.9, halved, are both said to be 0; with 0.2 more they are halved to 0.3 and 0.55, said to be 0 and 1.
    Before the denoiser it is the other way round: 0 and 1, but with noise 1 and 1.
    """
    images = held_out(pixels(0.4, 0.9), [0, 1])
    assert judge_denoiser(Scale(0.5), [bright], images, ScriptedNoise(level))["denoised_accuracy"] == right
    assert noisy_accuracy(bright, images, ScriptedNoise(level)) == 1.5 - right


def test_several_classifiers_take_turns() -> None:
    """600 images are batches of 250, 250 and 100, four times."""
    images = held_out(torch.zeros(600, 1, 1, 1), [0] * 600)
    asked: list[tuple[str, int]] = []

    def says(name: str, label: int, denoised: torch.Tensor) -> torch.Tensor:
        asked.append((name, len(denoised)))
        return torch.full((len(denoised),), label)

    def right(denoised: torch.Tensor) -> torch.Tensor:
        return says("right", 0, denoised)

    def wrong(denoised: torch.Tensor) -> torch.Tensor:
        return says("wrong", 1, denoised)

    metrics = judge_denoiser(torch.nn.Identity(), [right, wrong], images, ScriptedNoise(0.0))
    sizes = [250, 250, 100] * 4
    assert asked == [(("right", "wrong")[number % 2], size) for number, size in enumerate(sizes)]
    assert metrics["denoised_accuracy"] == 0.5
    metrics = judge_denoiser(torch.nn.Identity(), [wrong, wrong, right], images, ScriptedNoise(0.0))
    assert metrics["denoised_accuracy"] == 100 / 600


@pytest.mark.parametrize("labels", [[NO_LABEL, NO_LABEL], [0, NO_LABEL]])
def test_without_all_labels_there_is_no_accuracy(labels: list[int]) -> None:
    def never(denoised: torch.Tensor) -> torch.Tensor:
        raise AssertionError("classified without need")

    assert set(judge_denoiser(Scale(0.5), [never], held_out(pixels(0.4, 0.9), labels), ScriptedNoise(0.0))) == {"psnr"}


def test_metrics_are_the_same_at_every_call() -> None:
    images = held_out(torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0)), [0, 1] * 15)
    noise = TrainingNoise("gaussian", 0.5, CPU)
    first = judge_denoiser(Scale(0.5), [bright], images, noise), noisy_accuracy(bright, images, noise)
    noise.begin(77, 4, slice(0, 4))  # training goes on with the same noise
    noise(torch.zeros(4, 1, 4, 4))
    torch.rand(3)
    assert (judge_denoiser(Scale(0.5), [bright], images, noise), noisy_accuracy(bright, images, noise)) == first
    again = TrainingNoise("gaussian", 0.5, CPU)
    assert (judge_denoiser(Scale(0.5), [bright], images, again), noisy_accuracy(bright, images, again)) == first
    assert 0.3 < first[1] < 0.7
