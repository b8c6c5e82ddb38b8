"""Random streams, and what a noise family draws from them.

A stream depends on (run seed, role, image id, block) alone: every replica draws the same noise for a block, in any
order, after any number of restarts.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import inf, nextafter
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np

from raysmooth.actors.noise.gaussian_top_k import top_k_margin
from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateModule

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")
special = LateModule("scipy.special")  # takes a quarter of a second to import


class Stream(Protocol):
    """Independent random numbers, in an order fixed by the stream's seed. A user draws either normal or uniform numbers
    from a stream, never both.
    """

    def normal_(self, out: "torch.Tensor", scale: float = 1.0) -> None:
        """Fill the float32 tensor `out` (contiguous, on the stream's device) with the next N(0, scale^2) numbers."""

    def uniform_(self, out: "torch.Tensor", scale: float = 1.0) -> None:
        """Fill `out` with the next numbers, uniform on [-scale, scale]."""


class HostStream:
    """torch's Mersenne Twister with all 19,937 bits of its state from the SeedSequence, as in numpy's MT19937
    (`manual_seed` keeps 32 bits: among a million streams hundreds would be equal).

    torch's vectorised Box-Muller is several times as fast as numpy's ziggurat. It starts from uniforms of 24 bits: no
    normal exceeds sqrt(48 ln 2) = 5.77 (one in 120 million should), and the last bits depend on the processor's vector
    instructions. It makes normals in groups of sixteen; the unused rest of a group is kept here, so that the numbers do
    not depend on how a stream is divided into calls. A uniform number takes 24 bits of one word, in order.
    """

    _SIXTEEN = 16

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._generator = torch.Generator()
        self._generator.set_state(_twister_state(sequence))
        self._waiting = torch.empty(0)

    def normal_(self, out: "torch.Tensor", scale: float = 1.0) -> None:
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

    def uniform_(self, out: "torch.Tensor", scale: float = 1.0) -> None:
        out.uniform_(-scale, scale, generator=self._generator)


class DeviceStream:
    """torch's counter-based generator (Philox) on the device, so that no noise crosses the bus."""

    def __init__(self, sequence: np.random.SeedSequence, device: "torch.device") -> None:
        self._generator = torch.Generator(device)
        self._generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def normal_(self, out: "torch.Tensor", scale: float = 1.0) -> None:
        out.normal_(0, scale, generator=self._generator)

    def uniform_(self, out: "torch.Tensor", scale: float = 1.0) -> None:
        out.uniform_(-scale, scale, generator=self._generator)


# torch's state of a CPU generator, in words of 64 bits: the seed; the numbers left before the next twist, and whether
# it was seeded; the index of the next number; the 624 words of the twister; what normal_ keeps between calls.
_STATE_WORDS, _TWISTER = 632, slice(3, 627)


def _twister_state(sequence: np.random.SeedSequence) -> "torch.Tensor":
    """The initial state of numpy.random.MT19937(sequence) in torch's layout."""
    words = _blank_state().copy()
    words[_TWISTER] = sequence.generate_state(624, np.uint32)
    words[_TWISTER.start] = 1 << 31  # as in numpy: the state must not be all zeros
    return torch.from_numpy(words.view(np.uint8))


@cache
def _blank_state() -> np.ndarray:
    """The state of a newly seeded generator; raises RuntimeError if this torch has another layout."""
    words = torch.Generator().manual_seed(0).get_state().numpy().view(np.uint64)
    raw, known = np.random.MT19937(0), np.random.MT19937(0).state["state"]["key"]
    generator = torch.Generator()
    if len(words) == _STATE_WORDS:
        words[_TWISTER] = known
        generator.set_state(torch.from_numpy(words.view(np.uint8)))
    drawn = torch.empty(1500, dtype=torch.int64).random_(0, 1 << 24, generator=generator).numpy()
    raw.random_raw(1)  # numpy first returns a last word of its key; torch twists first
    if not np.array_equal(drawn, raw.random_raw(1500) % (1 << 24)):
        raise RuntimeError(
            f"torch {torch.__version__} stores its generator's state in another layout than torch 2.15: install that"
        )
    return words


def open_stream(device: "torch.device", seed: int, role: Role, image_id: int, block: int) -> Stream:
    """The stream of one block of an image's draws; all numbers are >= 0."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(role), image_id, block))
    return HostStream(sequence) if device.type == "cpu" else DeviceStream(sequence, device)


class NoiseFamily(Protocol):
    """Noise added to an image in pixel units ([0, 1]), independent in each coordinate, and its certified radius."""

    name: ClassVar[str]
    norm: ClassVar[str]

    def __hash__(self) -> int:
        """Families are values: equal ones are one key of a cache."""

    @property
    def scale(self) -> float:
        """The noise level in pixel units: in every family sigma, the standard deviation of a coordinate."""

    def fill_(self, stream: Stream, out: "torch.Tensor") -> None:
        """Fill `out`, float32, with noise."""

    def at(self, scale: float) -> Self:
        """The same family, for certificates in the same norm, at the noise level `scale`. Raises RaysmoothError for a
        level that is not a positive number.
        """

    def add_(self, stream: Stream, out: "torch.Tensor", image: "torch.Tensor") -> None:
        """Fill `out` (k, ...) float32 with k noisy copies of `image` (...), never clipped."""

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        """Certified radius in `norm`, pixel units, from a lower bound on the top class's probability and an upper bound
        on the runner-up's (default: 1 - p_top). Never negative.
        """

    def radius_top_k(self, p_top: float, k: int, p_others: float | None = None) -> float:
        """The radius in `norm`, pixel units, within which a class stays among the `k` most likely: at most k - 1 others
        are as likely or likelier. `p_top` is a lower bound on its probability, `p_others` an upper bound on that of any
        k other classes together (None: 1 - p_top). Never rounded up (for k = 1 it is `radius`), never negative.
        """

    def in_norm(self, radius: float) -> float:
        """The radius of the largest ball in `norm` inside the ball of `radius` in the norm that the family has by
        default, around the same image; rounded down, never up.
        """

    def needed(self, radius: float) -> float:
        """The lower bound on the top class's probability that `radius` >= 0 needs, at least 1/2: the smallest p_top
        with self.radius(p_top) >= radius, rounded up, never down. 1.0 if it is beyond float precision.
        """


@dataclass(frozen=True)
class Gaussian:
    """N(0, sigma^2 I); certifies the l2 radius sigma/2 (PhiInv(pA) - PhiInv(pB)) (Cohen et al. 2019, theorem 1),
    which is sigma * PhiInv(pA) with the bound pB = 1 - pA.
    """

    scale: float

    name: ClassVar[str] = "gaussian"
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        if not 0 < self.scale < inf:
            raise RaysmoothError(f"sigma must be a positive number, not {self.scale:g}: write --sigma 0.25, say")

    def at(self, scale: float) -> Self:
        return replace(self, scale=scale)

    def fill_(self, stream: Stream, out: "torch.Tensor") -> None:
        stream.normal_(out, self.scale)

    def add_(self, stream: Stream, out: "torch.Tensor", image: "torch.Tensor") -> None:
        self.fill_(stream, out)
        out.add_(image)

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        margin = special.ndtri(p_top) if p_other is None else (special.ndtri(p_top) - special.ndtri(p_other)) / 2
        return max(0.0, self.scale * float(margin))

    def radius_top_k(self, p_top: float, k: int, p_others: float | None = None) -> float:
        """As `gaussian_top_k` derives it."""
        if k == 1:
            return Gaussian.radius(self, p_top, p_others)
        if not 0 < p_top < 1:
            return 0.0 if p_top <= 0 else inf
        return nextafter(self.scale * top_k_margin(p_top, k, p_others), 0.0)

    def in_norm(self, radius: float) -> float:
        return radius

    def needed(self, radius: float) -> float:
        p_top = float(special.ndtr(radius / self.scale))
        while self.radius(p_top) < radius:  # only by rounding: at most a few steps
            p_top = nextafter(p_top, 1.0)
        return p_top
