"""The soft smoothed classifier: the mean softmax over draws of noise. Unlike votes, it has gradients."""

from math import log
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch


Model: TypeAlias = "torch.nn.Module"
"""Pixels (B, C, H, W) in [0, 1] units -> a classifier's float32 logits (B, K), or a denoiser's float32 pixels.

A classifier contains its normalisation: the noise comes before it.
"""


def logits_of_draws(classifier: Model, images: "torch.Tensor", noises: "torch.Tensor") -> "torch.Tensor":
    """Logits (m, B, K) of images (B, C, H, W) under noises (m, B, C, H, W), in one forward pass."""
    return classifier((images + noises).flatten(0, 1)).unflatten(0, noises.shape[:2])


def log_mean_softmax(logits: "torch.Tensor") -> "torch.Tensor":
    """(m, B, K) -> log of the softmax averaged over the m draws (B, K)."""
    return logits.log_softmax(dim=2).logsumexp(dim=0) - log(len(logits))


def smoothed_cross_entropy(logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
    """-log mean_i F_y(x + delta_i) of each image (B,), from logits (m, B, K)."""
    return -log_mean_softmax(logits).gather(1, labels.unsqueeze(1)).squeeze(1)
