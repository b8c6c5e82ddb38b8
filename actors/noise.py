"""Noise families, and the random streams they draw from.

A stream belongs to (run seed, role, image id, block) and to nothing else: whichever replica draws a block, in
whatever order, after however many restarts, it draws the same noise.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Protocol

import numpy as np
import torch
from scipy.special import ndtri

from actors.refusal import Refusal
from actors.work_unit import Role


class Stream(Protocol):
    """Standard normal numbers, in an order fixed by the stream's seed."""

    def normal_(self, out: torch.Tensor) -> None:
        """Fill the float32 tensor `out` (contiguous, on the stream's device) with the next N(0, 1) numbers."""


class HostStream:
    """numpy's SFC64 seeded with the whole SeedSequence (torch's CPU generator keeps 32 bits of its seed: in a
    million streams hundreds would be equal).
    """

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._generator = np.random.Generator(np.random.SFC64(sequence))

    def normal_(self, out: torch.Tensor) -> None:
        self._generator.standard_normal(out=out.numpy(), dtype=np.float32)


class DeviceStream:
    """torch's counter-based generator (Philox) on the device itself, so that no noise crosses the bus."""

    def __init__(self, sequence: np.random.SeedSequence, device: torch.device) -> None:
        self._generator = torch.Generator(device)
        self._generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def normal_(self, out: torch.Tensor) -> None:
        out.normal_(generator=self._generator)


def open_stream(device: torch.device, seed: int, role: Role, image_id: int, block: int) -> Stream:
    """The stream of one block of one image's draws; all arguments are >= 0."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(role), image_id, block))
    return HostStream(sequence) if device.type == "cpu" else DeviceStream(sequence, device)


class NoiseFamily(Protocol):
    """Isotropic noise added to an image in pixel units ([0, 1]), and the certificate it gives."""

    name: ClassVar[str]
    norm: ClassVar[str]

    @property
    def scale(self) -> float:
        """The noise level in pixel units (sigma for Gaussian noise)."""

    def add_(self, stream: Stream, out: torch.Tensor, image: torch.Tensor) -> None:
        """Fill `out` (k, ...) float32 with k noisy copies of `image` (...), never clipped."""

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        """Certified radius in `norm`, pixel units, from a lower bound on the top class's probability and, where
        there is one, an upper bound on the runner-up's (1 - p_top otherwise). Never negative.
        """


@dataclass(frozen=True)
class Gaussian:
    """N(0, sigma^2 I); certifies the l2 radius sigma/2 (PhiInv(pA) - PhiInv(pB)) (Cohen et al. 2019, theorem 1),
    which is sigma * PhiInv(pA) where pB is bounded by 1 - pA.
    """

    scale: float

    name: ClassVar[str] = "gaussian"
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        if not 0 < self.scale < inf:
            raise Refusal(f"sigma must be a positive number, not {self.scale:g}: write --sigma 0.25, say")

    def add_(self, stream: Stream, out: torch.Tensor, image: torch.Tensor) -> None:
        stream.normal_(out)
        out.mul_(self.scale).add_(image)

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        margin = ndtri(p_top) if p_other is None else (ndtri(p_top) - ndtri(p_other)) / 2
        return max(0.0, self.scale * float(margin))
