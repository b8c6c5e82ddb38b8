"""Noise and networks whose every number is written down, for losses worked out by hand."""

from collections.abc import Iterable

import numpy as np
import torch


class ScriptedNoise:
    """Returns the draws that it was given, one per call; further calls fail."""

    sigma_ratios: float | torch.Tensor = 1.0

    def __init__(self, draws: Iterable[np.ndarray | torch.Tensor], sigma: float = 0.5) -> None:
        self.sigma = sigma
        self.left = [torch.as_tensor(draw, dtype=torch.float32) for draw in draws]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.left.pop(0).expand_as(images)


class GaussianNoise:
    """Real noise, seeded."""

    sigma_ratios = 1.0

    def __init__(self, sigma: float = 0.5, seed: int = 0) -> None:
        self.sigma = sigma
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.sigma * torch.randn(images.shape, generator=self.generator)


class Linear(torch.nn.Module):
    """Logits W x, of images flattened."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight.T


class Scale(torch.nn.Module):
    """A denoiser with one weight: x -> w x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight * images
