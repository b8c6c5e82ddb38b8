"""The quality of a trained model on held-out images, clean and noisy."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil, log10
from typing import TypeAlias

import torch

from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.training.trainer import Loss
from raysmooth.tune.training.training_data import NO_LABEL, Images

Classify: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Pixels (B, C, H, W) -> int64 labels (B,)."""

NOISY_COPIES = 2000
"""Fewest noisy images to judge: several draws per image where few are held out, at most `MOST_DRAWS`."""

MOST_DRAWS = 10
BATCH = 250
SEED = 0


@torch.no_grad()
def accuracy(classify: Classify, images: Images) -> float:
    """Fraction of correct labels."""
    return sum(int((classify(batch) == labels).sum()) for batch, labels in images.in_order(BATCH)) / len(images)


@torch.no_grad()
def noisy_accuracy(classify: Classify, images: Images, noise: TrainingNoise) -> float:
    """Fraction of correct labels of the base classifier (not smoothed) under noise, the same at every call."""
    hits = judged = 0
    for _, noisy, labels in _noisy(images, noise):
        hits += int((classify(noisy) == labels).sum())
        judged += len(labels)
    return hits / judged


@torch.no_grad()
def judge_denoiser(
    denoiser: torch.nn.Module, classifiers: Sequence[Classify], images: Images, noise: TrainingNoise
) -> dict[str, float]:
    """`psnr`, 10 log10(1 / mean squared error) of denoised against clean pixels, in dB; with classifiers and labels,
    `denoised_accuracy`, the fraction of noisy images classified correctly after denoising.

    Several classifiers take turns, a batch each. The noise is the same at every call.
    """
    error = numbers = 0.0
    hits = judged = 0
    labelled = bool(classifiers) and not bool((images.labels == NO_LABEL).any())
    for number, (clean, noisy, labels) in enumerate(_noisy(images, noise)):
        denoised = denoiser(noisy)
        error += float((denoised - clean).double().square().sum())
        numbers += clean.numel()
        if labelled:
            hits += int((classifiers[number % len(classifiers)](denoised) == labels).sum())
            judged += len(labels)
    metrics = {"psnr": 10 * log10(numbers / error) if error else float("inf")}
    return metrics | ({"denoised_accuracy": hits / judged} if labelled else {})


def held_out_loss(network: InPrecision, loss: Loss, images: Images, noise: TrainingNoise, epochs: int) -> float:
    """Mean loss over held-out images, once each, in eval mode.

    The noise is the same at every call, and options with a warm-up have their final values (those after `epochs`
    epochs), so that epochs can be compared. Gradients flow only where the loss itself needs them, as adversarial ones
    do; the network's parameters get none.
    """
    total = 0.0
    network.eval()
    for number, (batch, labels) in enumerate(images.in_order(BATCH)):
        noise.begin(SEED + number, len(batch), slice(0, len(batch)))
        total += float(loss(network, batch, labels, noise, epochs, number).detach()) * len(batch)
    return total / len(images)


def _noisy(images: Images, noise: TrainingNoise) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of clean images, noisy images and labels."""
    draws = min(MOST_DRAWS, ceil(NOISY_COPIES / len(images)))
    for draw in range(draws):
        for number, (batch, labels) in enumerate(images.in_order(BATCH)):
            noise.begin(SEED + draw * len(images) + number, len(batch), slice(0, len(batch)))
            yield batch, batch + noise(batch), labels
