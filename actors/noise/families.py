"""The noise families (--noise), and the norms of their certificates (--norm).

The level of every family is sigma, the standard deviation of a coordinate in pixel units, in training and in certifying
alike: families are compared at the same noise power, as by Yang et al. 2020.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import inf, isinf, nextafter, sqrt
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from raysmooth.actors.noise.streams import Gaussian, NoiseFamily, Stream
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GaussianLinf(Gaussian):
    """N(0, sigma^2 I) on images of `pixels` coordinates (C H W); certifies the linf radius R / sqrt(pixels), where R is
    the l2 radius: the l2 norm of a perturbation is at most sqrt(pixels) times its linf norm, with equality at the
    corners.
    """

    pixels: int

    norm: ClassVar[str] = "linf"

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        """As `Gaussian.radius`, rounded down: radius^2 pixels <= R^2 holds exactly."""
        return self.in_norm(super().radius(p_top, p_other))

    def radius_top_k(self, p_top: float, k: int, p_others: float | None = None) -> float:
        return self.in_norm(super().radius_top_k(p_top, k, p_others))

    def in_norm(self, radius: float) -> float:
        if isinf(radius):
            return radius
        inside = radius / sqrt(self.pixels)
        while _exceeds(inside, radius, self.pixels):
            inside = nextafter(inside, 0.0)
        return inside

    def needed(self, radius: float) -> float:
        return _least(self, Gaussian(self.scale).needed(radius * sqrt(self.pixels)), radius)


@dataclass(frozen=True)
class Uniform:
    """Uniform on [-lambda, lambda] in each coordinate, lambda = sqrt(3) sigma; certifies the l1 radius
    lambda (pA - pB), which is 2 lambda (pA - 1/2) with the bound pB = 1 - pA (Yang et al. 2020, uniform noise): shifted
    by delta, the cube keeps all but at most |delta|_1 / (2 lambda) of its volume, so no class gains or loses more
    probability than that.
    """

    scale: float

    name: ClassVar[str] = "uniform"
    norm: ClassVar[str] = "l1"

    def __post_init__(self) -> None:
        if not 0 < self.scale < inf:
            raise RaysmoothError(f"sigma must be a positive number, not {self.scale:g}: write --noise uniform:0.5, say")

    def at(self, scale: float) -> Self:
        return replace(self, scale=scale)

    @classmethod
    def sigma_of(cls, half_width: float) -> float:
        """The level of uniform noise on [-half_width, half_width]."""
        return half_width / sqrt(3)

    @cached_property
    def half_width(self) -> float:
        """Lambda: sqrt(3) sigma to 15 digits, the inverse of `sigma_of`."""
        return float(f"{sqrt(3) * self.scale:.15g}")

    @cached_property
    def drawn_half_width(self) -> float:
        """The lambda of radii: that of the cube actually sampled, in float32, if it is the smaller one."""
        with np.errstate(over="ignore"):  # infinite in float32, as torch has it
            return min(self.half_width, float(np.float32(self.half_width)))

    def fill_(self, stream: Stream, out: "torch.Tensor") -> None:
        stream.uniform_(out, self.half_width)

    def add_(self, stream: Stream, out: "torch.Tensor", image: "torch.Tensor") -> None:
        self.fill_(stream, out)
        out.add_(image)

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        """Rounded down: never above `drawn_half_width` (p_top - p_other), computed exactly."""
        if p_other is None:
            return max(0.0, _product(2 * self.drawn_half_width, p_top - 0.5))  # both factors are exact for p_top >= 1/4
        return max(0.0, _product(self.drawn_half_width, _difference(p_top, p_other)))

    def radius_top_k(self, p_top: float, k: int, p_others: float | None = None) -> float:
        """2 lambda (k pL - m) / (k + 1), where m is `p_others`: a shift by delta, of s = |delta|_1 / (2 lambda), takes
        at most s from the class, and gives at most s to the draws of any k others together. If these are all as likely
        as the class or likelier, then k (pL - s) <= m + s. With m = 1 - pL it is 2 lambda (pL - 1 / (k + 1)).
        """
        if k == 1:
            return self.radius(p_top, p_others)
        others = 1 - Fraction(p_top) if p_others is None else Fraction(p_others)
        share = (k * Fraction(p_top) - others) / (k + 1)
        return max(0.0, _rounded_down(2 * Fraction(self.drawn_half_width) * share))

    def in_norm(self, radius: float) -> float:
        return radius

    def needed(self, radius: float) -> float:
        """1.0 also for a radius beyond lambda, which no probability reaches."""
        return _least(self, min(1.0, 0.5 + radius / (2 * self.drawn_half_width)), radius)


def _least(noise: NoiseFamily, p_top: float, radius: float) -> float:
    """The first float from `p_top` up, at most a few steps of rounding, that reaches `radius`; 1.0 if none does."""
    while noise.radius(p_top) < radius and p_top < 1:
        p_top = nextafter(p_top, 1.0)
    return p_top


def _exceeds(radius: float, whole: float, pixels: int) -> bool:
    """Whether radius^2 pixels > whole^2."""
    (a, b), (c, d) = radius.as_integer_ratio(), whole.as_integer_ratio()
    return (a * d) ** 2 * pixels > (b * c) ** 2


def _rounded_down(exact: Fraction) -> float:
    """The largest float up to `exact`."""
    nearest = float(exact)
    return nextafter(nearest, -inf) if Fraction(nearest) > exact else nearest


def _product(one: float, other: float) -> float:
    """The product, rounded down."""
    product = one * other
    (a, b), (c, d), (p, q) = (number.as_integer_ratio() for number in (one, other, product))
    return nextafter(product, -inf) if p * b * d > a * c * q else product


def _difference(one: float, other: float) -> float:
    """`one` minus `other`, rounded down."""
    difference = one - other
    return nextafter(difference, -inf) if Fraction(difference) > Fraction(one) - Fraction(other) else difference


@dataclass(frozen=True)
class NoiseEntry:
    """`parameter`: the family's usual parameter, written after a colon; `sigma_of` converts it to sigma, `of_sigma`
    sigma to it. `norms`: the norms of its certificates, the default first; each builds the family from sigma and the
    number of an image's coordinates.
    """

    parameter: str
    sigma_of: Callable[[float], float]
    of_sigma: Callable[[float], float]
    norms: Mapping[str, Callable[[float, int], NoiseFamily]]


NOISES: Registry[NoiseEntry] = Registry(
    "noise family",
    {
        "gaussian": NoiseEntry(
            "sigma", float, float, {"l2": lambda sigma, pixels: Gaussian(sigma), "linf": GaussianLinf}
        ),
        "uniform": NoiseEntry(
            "lambda",
            Uniform.sigma_of,
            lambda sigma: Uniform(sigma).half_width,
            {"l1": lambda sigma, pixels: Uniform(sigma)},
        ),
    },
)


def noise_family(name: str, sigma: float, norm: str | None = None, pixels: int = 1) -> NoiseFamily:
    """The family `name` at level `sigma`, for certificates in `norm` (default: the family's first) of images of
    `pixels` coordinates. Raises RaysmoothError for an unknown name, a norm without certificates in this family, and a
    level that is not a positive number.
    """
    norms = NOISES[name].norms
    if norm is None:
        norm = next(iter(norms))
    if norm not in norms:
        has = " or ".join(norms)
        owners = [f", or --noise {other}" for other, entry in NOISES.items() if norm in entry.norms]
        raise RaysmoothError(f"--norm {norm}: {name} noise gives radii in {has}: write --norm {has}{''.join(owners)}")
    return norms[norm](sigma, pixels)
