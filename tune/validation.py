"""How good a trained model is on held-out images, as they are and under noise."""

from collections.abc import Iterator
from math import log10

import torch

from tune.objectives import Model
from tune.training import gaussian_noise
from tune.training_data import Examples

DRAWS = 10
"""Noisy copies of every held-out image."""

BATCH = 500
SEED = 0


@torch.inference_mode()
def accuracy(classify: Model, examples: Examples) -> float:
    """Share of right labels; `classify` maps pixels (B, C, H, W) to int64 labels (B,)."""
    hits = sum(
        int((classify(images) == labels).sum())
        for images, labels in zip(examples.images.split(BATCH), examples.labels.split(BATCH), strict=True)
    )
    return hits / len(examples.labels)


@torch.inference_mode()
def noisy_accuracy(classify: Model, examples: Examples, sigma: float) -> float:
    """Share of right labels under Gaussian noise of `sigma` (pixel units), of the base classifier, not smoothed.

    The noise is the same at every call, so that models can be compared.
    """
    hits = sum(int((classify(noisy) == labels).sum()) for noisy, _, labels in _noisy(examples, sigma))
    return hits / (DRAWS * len(examples.labels))


@torch.inference_mode()
def psnr(denoiser: Model, examples: Examples, sigma: float) -> float:
    """10 log10(1 / mean squared error) of denoised against clean pixels, in dB, under Gaussian noise of `sigma`."""
    total = sum(float((denoiser(noisy) - clean).square().sum()) for noisy, clean, _ in _noisy(examples, sigma))
    return 10 * log10(DRAWS * examples.images.numel() / total)


def _noisy(examples: Examples, sigma: float) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of noisy images, the clean ones and their labels: DRAWS passes over the examples."""
    noise = gaussian_noise(sigma, SEED, examples.images.device)
    for _ in range(DRAWS):
        for images, labels in zip(examples.images.split(BATCH), examples.labels.split(BATCH), strict=True):
            yield images + noise(images), images, labels
