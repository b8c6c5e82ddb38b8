"""Classifiers whose smoothed classifier is known exactly, and searches with them."""

from collections.abc import Sequence
from typing import Any

import torch
from scipy.stats import norm

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.noise.streams import Gaussian, NoiseFamily
from raysmooth.actors.sigma_search.found import Found, SearchedImages
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.searches import SEARCHES, read_search

CLAMPED = 2.0537489106318225
"""PhiInv(0.98), to all digits."""


class Probit(torch.nn.Module):
    """Softmax (F, 1 - F) with F = Phi((w x + b) / t). Under N(0, sigma^2) its mean is Phi(m / s), m = w x + b and
    s^2 = t^2 + sigma^2 |w|^2: the radius of the smoothed classifier is sigma m / s.
    """

    def __init__(self, weight: Sequence[float] = (3.0,), bias: float = 0.4, t: float = 1.5) -> None:
        super().__init__()
        self.weight, self.bias, self.t = torch.tensor(weight), bias, t

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        z = (batch.flatten(1) @ self.weight + self.bias) / self.t
        return torch.stack([torch.special.log_ndtr(z), torch.special.log_ndtr(-z)], dim=1)

    def radius(self, image: torch.Tensor, sigma: float) -> float:
        return sigma * self._margin(image) / self._spread(sigma) ** 0.5

    def slope(self, image: torch.Tensor, sigma: float) -> float:
        return self._margin(image) * self.t**2 / self._spread(sigma) ** 1.5

    def _margin(self, image: torch.Tensor) -> float:
        return float(image.flatten().double() @ self.weight.double()) + self.bias

    def _spread(self, sigma: float) -> float:
        return self.t**2 + sigma**2 * float(self.weight.double() @ self.weight.double())


class Certain(torch.nn.Module):
    """Class 2 of 4 with probability 1, whatever the image, and with gradients."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return 0 * batch.flatten(1).sum(dim=1, keepdim=True) + torch.tensor([0.0, 0.0, 60.0, 0.0])


def network_of(classifier: Any, search: str) -> SearchNetwork:
    model = DenoisedClassifier(None, torch.nn.Identity(), classifier).eval().requires_grad_(False)
    return SearchNetwork(model, read_search(search)[1])


def found_by(
    search: str,
    classifier: Any,
    images: torch.Tensor,
    noise: NoiseFamily | None = None,
    *,
    ids: Sequence[int] | None = None,
    batch_size: int = 8,
    micro_batch: int | None = None,
    seed: int = 0,
) -> Found:
    """The search of images (B, C, H, W), from sigma 0.25 unless `noise` is given."""
    written, options = read_search(search)
    found: Found = SEARCHES[written.name].find(
        SearchedImages.of(images, range(len(images)) if ids is None else ids, seed),
        network_of(classifier, search),
        noise or Gaussian(0.25),
        options,
        batch_size=batch_size,
        micro_batch=micro_batch or batch_size,
    )
    return found


def quantiles(count: int) -> torch.Tensor:
    """`count` noises of one pixel, (1, n, 1, 1, 1), that are spread as evenly as a normal allows."""
    points = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.from_numpy(norm.ppf(points.numpy())).float().view(1, -1, 1, 1, 1)
