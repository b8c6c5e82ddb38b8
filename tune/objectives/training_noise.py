"""Noise to train on: fresh at every call, decided by the seed of a step, whoever computes which part of its batch."""

from collections.abc import Callable
from math import sqrt

import torch

from raysmooth.common.registry import Registry

# All have mean 0 and, in each coordinate, variance 1.
NOISE_FAMILIES: Registry[Callable[[tuple[int, ...], torch.Generator, torch.device], torch.Tensor]] = Registry(
    "noise family",
    {
        # l2 certificates (Cohen et al. 2019)
        "gaussian": lambda shape, generator, device: torch.randn(shape, generator=generator, device=device),
        # l1 certificates (Yang et al. 2020): uniform on [-sqrt(3), sqrt(3)]
        "uniform": lambda shape, generator, device: (
            torch.rand(shape, generator=generator, device=device).mul_(2).sub_(1).mul_(sqrt(3))
        ),
    },
)


class TrainingNoise:
    """Noise of a family with standard deviation `sigma` in each coordinate, in pixel units.

    So uniform noise is that of [-lambda, lambda] with lambda = sqrt(3) sigma (Yang et al. 2020 compare families in
    this way). Before each step, `begin` says what decides its noise.
    """

    def __init__(self, family: str, sigma: float, device: torch.device) -> None:
        self.sigma = sigma
        self._draw = NOISE_FAMILIES[family]
        self._generator = torch.Generator(device)
        self._batch = 0
        self._part = slice(0, 0)

    def begin(self, seed: int, batch: int, part: slice) -> None:
        """The next calls are for images `part` of a batch of `batch` images, with the noise that `seed` gives it."""
        self._generator.manual_seed(seed)
        self._batch = batch
        self._part = part

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Fresh noise (b, C, H, W) for the part's images, float32, in their memory format.

        The whole batch's is drawn, so that several workers add to each image what one would.
        """
        drawn = self._draw((self._batch, *images.shape[1:]), self._generator, images.device)[self._part]
        if len(drawn) != len(images):
            raise ValueError(f"noise for {len(images)} images, the step began with {len(drawn)}")
        noise = drawn.mul_(self.sigma)
        if images.is_contiguous(memory_format=torch.channels_last):
            noise = noise.contiguous(memory_format=torch.channels_last)
        return noise
