"""What a search is given and what it finds, image by image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily, Stream, open_stream

NO_ANSWER = "no valid answer (logits NaN or infinite, or a label outside the classes)"

OpenStream = Callable[[int], Stream]
"""The stream of an image's block of draws, from its beginning."""


@dataclass(frozen=True)
class SearchedImages:
    """The images (B, C, H, W) of a search, float32 in pixel units on its device, and where each one's noise comes from.

    An image's noise is that of its own streams: its neighbours, their number and its place among them do not change it.
    """

    pixels: torch.Tensor
    streams: Sequence[OpenStream]

    @classmethod
    def of(cls, pixels: torch.Tensor, image_ids: Sequence[int], seed: int) -> "SearchedImages":
        """Those of a run with this seed."""

        def opened(image_id: int) -> OpenStream:
            return lambda block: open_stream(pixels.device, seed, Role.OPTIMISATION, image_id, block)

        return cls(pixels, [opened(image_id) for image_id in image_ids])


@dataclass(frozen=True)
class Found:
    """Arrays as of `UnitSigmas`, by image, and the reason of each image that failed."""

    sigmas: np.ndarray
    objectives: np.ndarray
    classes: np.ndarray
    radii: np.ndarray
    failed: tuple[str | None, ...]

    @classmethod
    def one(
        cls, sigma: float, objective: float, top: int, *, radius: float = np.nan, failed: str | None = None
    ) -> "Found":
        """That of an image in a search without steps."""
        return cls(np.array([[sigma]]), np.array([[objective]]), np.array([[top]]), np.array([radius]), (failed,))

    @classmethod
    def joined(cls, parts: Sequence["Found"]) -> "Found":
        """All images of `parts`, in order."""
        return cls(
            np.concatenate([part.sigmas for part in parts]),
            np.concatenate([part.objectives for part in parts]),
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.radii for part in parts]),
            tuple(reason for part in parts for reason in part.failed),
        )


def sigma_of(noise: NoiseFamily, level: float) -> float:
    """The standard deviation of noise of the family at `level`, its own parameter."""
    return NOISES[noise.name].sigma_of(level)


def unit_noise(noise: NoiseFamily) -> NoiseFamily:
    """The family where its own parameter is 1."""
    return noise.at(sigma_of(noise, 1.0))
