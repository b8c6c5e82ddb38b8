"""Noise families, and the random streams they draw from.

A stream belongs to (run seed, role, image id, block) and to nothing else: whichever replica draws a block, in
whatever order, after however many restarts, it draws the same noise.
"""

from dataclasses import dataclass
from functools import cache
from math import inf, nextafter
from typing import ClassVar, Protocol

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError


class Stream(Protocol):
    """Independent numbers of one distribution, in an order fixed by the stream's seed: whoever takes normal numbers of
    a stream takes no uniform ones.
    """

    def normal_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        """Fill the float32 tensor `out` (contiguous, on the stream's device) with the next N(0, scale^2) numbers."""

    def uniform_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        """The same with numbers that are uniform on [-scale, scale]."""


class HostStream:
    """torch's Mersenne Twister with all 19,937 bits of its state from the SeedSequence, as numpy's MT19937 has them
    (`manual_seed` keeps 32 bits: in a million streams hundreds would be equal).

    torch's vectorised Box-Muller makes normals several times as fast as numpy's ziggurat, out of uniforms of 24 bits:
    none is beyond sqrt(48 ln 2) = 5.77 (one in 120 million draws of a normal is), and their cosines and logarithms
    are those of the processor's vector instructions, to the last bits. It makes them by sixteens; those of a sixteen
    that are not asked for wait here, so that the numbers do not depend on how the stream is cut. Of a uniform number
    it makes one from each word, 24 bits of it, in order.
    """

    _SIXTEEN = 16

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._generator = torch.Generator()
        self._generator.set_state(_twister_state(sequence))
        self._waiting = torch.empty(0)

    def normal_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        out = out.view(-1)
        first = min(len(out), len(self._waiting))
        if first:
            torch.mul(self._waiting[:first], scale, out=out[:first])
            self._waiting = self._waiting[first:]
        rest = (len(out) - first) % self._SIXTEEN
        whole = out[first : len(out) - rest]
        if len(whole):
            whole.normal_(0, scale, generator=self._generator)
        if rest:
            self._waiting = torch.empty(self._SIXTEEN).normal_(generator=self._generator)
            torch.mul(self._waiting[:rest], scale, out=out[len(out) - rest :])
            self._waiting = self._waiting[rest:]

    def uniform_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        out.uniform_(-scale, scale, generator=self._generator)


class DeviceStream:
    """torch's counter-based generator (Philox) on the device itself, so that no noise crosses the bus."""

    def __init__(self, sequence: np.random.SeedSequence, device: torch.device) -> None:
        self._generator = torch.Generator(device)
        self._generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def normal_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        out.normal_(0, scale, generator=self._generator)

    def uniform_(self, out: torch.Tensor, scale: float = 1.0) -> None:
        out.uniform_(-scale, scale, generator=self._generator)


# torch's state of a CPU generator, in words of 64 bits: the seed as given; how many numbers are left before the next
# twist, and whether it was seeded; which is next; the 624 words of the twister; what normal_ keeps between calls.
_STATE_WORDS, _TWISTER = 632, slice(3, 627)


def _twister_state(sequence: np.random.SeedSequence) -> torch.Tensor:
    """The state, as torch has it, of the twister that numpy.random.MT19937(sequence) has, before its first twist."""
    words = _blank_state().copy()
    words[_TWISTER] = sequence.generate_state(624, np.uint32)
    words[_TWISTER.start] = 1 << 31  # as numpy does, so that not all are 0
    return torch.from_numpy(words.view(np.uint8))


@cache
def _blank_state() -> np.ndarray:
    """The state around the twister, of a generator just seeded; raises RuntimeError where torch's layout is another."""
    words = torch.Generator().manual_seed(0).get_state().numpy().view(np.uint64)
    raw, known = np.random.MT19937(0), np.random.MT19937(0).state["state"]["key"]
    generator = torch.Generator()
    if len(words) == _STATE_WORDS:
        words[_TWISTER] = known
        generator.set_state(torch.from_numpy(words.view(np.uint8)))
    drawn = torch.empty(1500, dtype=torch.int64).random_(0, 1 << 24, generator=generator).numpy()
    raw.random_raw(1)  # numpy has one word of its key left to give; torch twists first
    if not np.array_equal(drawn, raw.random_raw(1500) % (1 << 24)):
        raise RuntimeError(
            f"torch {torch.__version__} keeps its generator's state in another order than torch 2.15: install that"
        )
    return words


def open_stream(device: torch.device, seed: int, role: Role, image_id: int, block: int) -> Stream:
    """The stream of one block of one image's draws; all arguments are >= 0."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(role), image_id, block))
    return HostStream(sequence) if device.type == "cpu" else DeviceStream(sequence, device)


class NoiseFamily(Protocol):
    """Noise added to an image in pixel units ([0, 1]), independent in each coordinate, and the certificate it gives."""

    name: ClassVar[str]
    norm: ClassVar[str]

    @property
    def scale(self) -> float:
        """The noise level in pixel units: sigma, the standard deviation of a coordinate, whatever the family."""

    def add_(self, stream: Stream, out: torch.Tensor, image: torch.Tensor) -> None:
        """Fill `out` (k, ...) float32 with k noisy copies of `image` (...), never clipped."""

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        """Certified radius in `norm`, pixel units, from a lower bound on the top class's probability and, where
        there is one, an upper bound on the runner-up's (1 - p_top otherwise). Never negative.
        """

    def needed(self, radius: float) -> float:
        """The lower bound on the top class's probability that `radius` >= 0 takes, at least 1/2: the smallest p_top,
        up to rounding, with self.radius(p_top) >= radius. Rounded up, never down: 1.0 beyond what floats can say.
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
            raise RaysmoothError(f"sigma must be a positive number, not {self.scale:g}: write --sigma 0.25, say")

    def add_(self, stream: Stream, out: torch.Tensor, image: torch.Tensor) -> None:
        stream.normal_(out, self.scale)
        out.add_(image)

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        margin = ndtri(p_top) if p_other is None else (ndtri(p_top) - ndtri(p_other)) / 2
        return max(0.0, self.scale * float(margin))

    def needed(self, radius: float) -> float:
        p_top = float(ndtr(radius / self.scale))
        while self.radius(p_top) < radius:  # by rounding alone, so it is a step or a few
            p_top = nextafter(p_top, 1.0)
        return p_top
