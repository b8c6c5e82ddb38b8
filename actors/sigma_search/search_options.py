"""The options of each search, and what follows from them: the steps that are kept, costs, refusals.

Numbers of levels are in the noise family's own parameter: sigma of Gaussian noise, lambda of uniform noise.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import cached_property
from math import inf
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.pixel_scale import refuse_grey_levels
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.numbers import number
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, name_in

KEPT_EVERY = 100
"""The level is kept after every hundredth step, and after the last: one search serves all these numbers of steps."""

ANCHOR_DRAWS = 100
"""Draws at the first level that fix the class of `anchor=on`, at least."""

_FACTOR = 4.0
"""Levels are sought between a quarter of the first one and four times it, unless the options say otherwise."""


def _on_off(value: Any) -> str:
    if value not in ("on", "off"):
        raise RaysmoothError(f"option anchor={value}: write on or off")
    return str(value)


_GRADIENTS = "raysmooth.actors.sigma_search.gradients"


@plain_dataclass(frozen=True)
class Gradient:
    """A way to differentiate the objective by the noise level. `differentiates`: whether it needs a classifier that
    torch can differentiate.
    """

    summary: str
    compute: Callable[..., Any]
    differentiates: bool


GRADIENTS: Registry[Gradient] = Registry(
    "gradient",
    {
        "backward": Gradient("reverse mode: the objective's gradient", LateCallable(f"{_GRADIENTS}:backward"), True),
        "forward": Gradient(
            "forward mode: the derivative of logits along the noise", LateCallable(f"{_GRADIENTS}:forward"), True
        ),
        "difference": Gradient(
            "central difference with the same noise, for classifiers without gradients",
            LateCallable(f"{_GRADIENTS}:difference"),
            False,
        ),
    },
)


class SearchOptions(Options):
    """Base of the options of a search. The class attributes are facts of the search.

    `certified`: it gives each image a radius within which the level stays the same. `needs_logits`: it cannot use a
    classifier that answers labels.
    """

    certified: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = True

    @property
    def kept_steps(self) -> tuple[int, ...]:
        """The steps after which an image's level is kept, one row each; (0,) for a search without steps."""
        return (0,)

    @property
    def needs_gradients(self) -> bool:
        """Whether torch must be able to differentiate the classifier."""
        return False

    def images_at_once(self, batch_size: int) -> int:
        """How many images are searched together, in batches of `batch_size` draws; where there are fewer, blank ones
        are computed beside them.
        """
        return 1

    @property
    @abstractmethod
    def passes(self) -> int:
        """The cost of an image, in forward passes of one draw; a backward pass counts as two."""

    def refuse_unfit(self, noise: str, sigma: float) -> None:
        """Raises RaysmoothError for levels that do not fit a search which begins at `sigma`, a standard deviation."""

    def with_steps(self, step: int) -> Self:
        """The search that would have ended at `step`, one of `kept_steps`."""
        return self

    def brief(self, batch_size: int) -> Self:
        """A search of about one forward pass of `batch_size` draws, to see whether it works and how long it takes."""
        return self


@dataclass(frozen=True)
class Bounded(SearchOptions):
    """Options of searches between two levels. `least` and `most`: None for a quarter of the first level and four times
    it.
    """

    clamp: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    least: PositiveFloat | None = None
    most: PositiveFloat | None = None

    def bounds(self, first: float) -> tuple[float, float]:
        """The least and the greatest level of a search that begins at `first`."""
        least = first / _FACTOR if self.least is None else self.least
        return least, first * _FACTOR if self.most is None else self.most

    def refuse_unfit(self, noise: str, sigma: float) -> None:
        entry = NOISES[noise]
        first = entry.of_sigma(sigma)
        for option in ("least", "most"):
            if (value := getattr(self, option)) is not None:
                refuse_grey_levels(value, entry.sigma_of(value), f"option {option}={value:g}", f"{option}=")
        least, most = self.bounds(first)
        if not least <= first <= most or least == most:
            raise RaysmoothError(
                f"the search begins at {entry.parameter} {first:g} and goes from {least:g} to {most:g}: write least= "
                f"and most= around {first:g}"
            )


@dataclass(frozen=True)
class Ddrs(Bounded):
    """Algorithm 1 of Alfarra et al.: `steps` steps of gradient ascent on the radius that the mean softmax of `draws`
    draws would certify, each of `learning_rate` times the gradient. `clamp`: probabilities are clamped to [clamp, 1 -
    clamp]. `anchor`: on fixes the class whose radius grows to that at the first level; off takes the likeliest of each
    step's draws, as published.
    """

    steps: Annotated[int, Field(ge=1, le=100_000)] = 900
    learning_rate: PositiveFloat = 1e-4
    draws: Annotated[int, Field(ge=1, le=10_000)] = 1
    anchor: Annotated[str, BeforeValidator(_on_off)] = "off"
    gradient: Annotated[str, name_in(GRADIENTS)] = "backward"

    @property
    def kept_steps(self) -> tuple[int, ...]:
        return (*range(KEPT_EVERY, self.steps, KEPT_EVERY), self.steps)

    @property
    def needs_gradients(self) -> bool:
        return GRADIENTS[self.gradient].differentiates

    def images_at_once(self, batch_size: int) -> int:
        return max(1, batch_size // self.draws)

    @property
    def passes(self) -> int:
        return (3 * self.steps + self.anchor_rounds) * self.draws

    @property
    def anchor_rounds(self) -> int:
        """How many times `draws` draws are made at the first level to fix the class."""
        return -(-ANCHOR_DRAWS // self.draws) if self.anchor == "on" else 0

    def with_steps(self, step: int) -> Self:
        return replace(self, steps=step)

    def brief(self, batch_size: int) -> Self:
        return replace(self, steps=1)


@dataclass(frozen=True)
class Grid(Bounded):
    """The level among `levels`, evenly spaced from `least` to `most`, whose `draws` votes give the largest radius."""

    levels: Annotated[int, Field(ge=2, le=1000)] = 10
    draws: Annotated[int, Field(ge=1, le=100_000)] = 20
    needs_logits: ClassVar[bool] = False

    @property
    def passes(self) -> int:
        return self.levels * self.draws

    def brief(self, batch_size: int) -> Self:
        return replace(self, draws=min(self.draws, -(-batch_size // self.levels)))


@dataclass(frozen=True)
class Selector(SearchOptions):
    """`levels`: those to choose from, 0.25+0.5+1. `bins`: increasing thresholds of the largest softmax, one fewer than
    levels: a noisy copy below the first votes for the first level. The level with most of `n0` votes is the image's;
    `n` fresh ones bound its probability at half of `alpha`.
    """

    levels: Annotated[float | int | str, Field(description="such as 0.25+0.5+1")] = "0.25+0.5+1"
    bins: Annotated[float | int | str, Field(description="such as 0.6+0.9")] = "0.6+0.9"
    n0: PositiveInt = 100
    n: PositiveInt = 10_000
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    certified: ClassVar[bool] = True

    def __post_init__(self) -> None:
        levels, bins = self.choices, self.thresholds
        if len(levels) < 2 or len({*levels}) < len(levels) or not all(0 < level < inf for level in levels):
            raise RaysmoothError(
                f"option levels={self.levels}: write two or more different levels above 0, as in 0.25+0.5+1"
            )
        if len(bins) != len(levels) - 1 or [*bins] != sorted({*bins}) or not 0 <= bins[0] <= bins[-1] <= 1:
            raise RaysmoothError(
                f"option bins={self.bins}: write {counted(len(levels) - 1, 'threshold')} from 0 to 1, increasing, as "
                "in 0.6+0.9"
            )

    @cached_property
    def choices(self) -> tuple[float, ...]:
        """The levels as numbers."""
        return _numbers("levels", self.levels)

    @cached_property
    def thresholds(self) -> tuple[float, ...]:
        """The bins' thresholds as numbers."""
        return _numbers("bins", self.bins)

    @property
    def passes(self) -> int:
        return self.n0 + self.n

    def refuse_unfit(self, noise: str, sigma: float) -> None:
        for level in self.choices:
            refuse_grey_levels(level, NOISES[noise].sigma_of(level), f"option levels={self.levels}", "levels=")
        if (self.alpha / 2) ** (1 / self.n) <= 0.5:
            raise RaysmoothError(
                f"n={self.n} draws of the selector at half of alpha={self.alpha:g} can only abstain: write a larger n"
            )

    def brief(self, batch_size: int) -> Self:
        return replace(self, n0=1, n=min(self.n, batch_size))


def _numbers(option: str, written: float | str) -> tuple[float, ...]:
    try:
        return tuple(number(part) for part in str(written).split("+"))
    except ValueError:
        raise RaysmoothError(f"option {option}={written}: write numbers with + between, as in 0.25+0.5+1") from None
