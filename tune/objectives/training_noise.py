"""Noise to train on: fresh in every call, and decided by the seed of a step, however its batch is divided."""

import torch

from raysmooth.actors.noise.families import noise_family


class _GeneratorStream:
    """The next numbers of a torch generator. They are scaled after drawing, so that sigma changes nothing else."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def normal_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        out.normal_(generator=self._generator).mul_(scale)

    def uniform_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        out.uniform_(generator=self._generator).mul_(2).sub_(1).mul_(scale)


class TrainingNoise:
    """Noise of a family (`NOISES`) with standard deviation `sigma` >= 0 in each coordinate, in pixel units.

    Call `begin` before each step to fix its noise, and, where images have sigmas of their own, those. Raises
    RaysmoothError for an unknown family.
    """

    def __init__(self, family: str, sigma: float, device: torch.device) -> None:
        self.sigma = sigma
        self._unit_noise = noise_family(family, 1.0)  # scaled by sigma, which may be 0
        self._generator = torch.Generator(device)
        self._stream = _GeneratorStream(self._generator)
        self._batch = 0
        self._part = slice(0, 0)
        self._sigmas: torch.Tensor | None = None

    @property
    def sigma_ratios(self) -> float | torch.Tensor:
        """As of `Noise`."""
        return 1.0 if self._sigmas is None else (self._sigmas / self.sigma).to(torch.float32)

    def begin(self, seed: int, batch: int, part: slice, sigmas: torch.Tensor | None = None) -> None:
        """The next calls are for the images `part` of a batch of `batch` images, whose noise `seed` decides. `sigmas`,
        float64 (b,) on the device, are those of the part's images; None: all have `sigma`.
        """
        self._generator.manual_seed(seed)
        self._batch = batch
        self._part = part
        self._sigmas = sigmas

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Fresh noise (b, C, H, W) for the part's images, float32, in their memory format.

        Noise is drawn for the whole batch, so that several workers add the same noise to an image as one would.
        """
        drawn = torch.empty(self._batch, *images.shape[1:], device=images.device)
        self._unit_noise.fill_(self._stream, drawn)
        drawn = drawn[self._part]
        if len(drawn) != len(images):
            raise ValueError(f"noise for {len(images)} images, the step began with {len(drawn)}")
        # Each call is for one draw of every image, so an image's sigma is that of its place in any draw.
        noise = drawn.mul_(self.sigma if self._sigmas is None else _column(self._sigmas, drawn))
        if images.is_contiguous(memory_format=torch.channels_last):
            noise = noise.contiguous(memory_format=torch.channels_last)
        return noise


def _column(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """A number per image (b,), in the images' type and a shape that broadcasts over them."""
    return values.to(images.dtype).view(-1, *[1] * (images.dim() - 1))
