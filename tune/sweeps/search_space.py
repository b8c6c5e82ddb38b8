"""What a sweep varies: for each setting of a training a set of values, or a range of numbers to draw from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from types import ModuleType
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry


@dataclass(frozen=True)
class Kind:
    """A way to write a domain. `of`, given the module ray.tune, makes Ray Tune's out of the values; a `finite` one has
    each of them, another is a range (low, high), drawn from at random.
    """

    finite: bool
    of: Callable[[ModuleType, Sequence[Any]], Any]


KINDS: Registry[Kind] = Registry(
    "domain",
    {
        "grid": Kind(True, lambda tune, values: tune.grid_search(list(values))),
        "choice": Kind(True, lambda tune, values: tune.choice(list(values))),
        "uniform": Kind(False, lambda tune, values: tune.uniform(*values)),
        "loguniform": Kind(False, lambda tune, values: tune.loguniform(*values)),
        "randint": Kind(False, lambda tune, values: tune.randint(values[0], values[1] + 1)),
    },
)


@dataclass(frozen=True)
class Domain:
    """`values` are all there are, or the ends of a range, both included."""

    kind: str
    values: tuple[Any, ...]

    @property
    def finite(self) -> bool:
        return KINDS[self.kind].finite

    @property
    def tunes(self) -> Any:
        """It as Ray Tune has it."""
        from ray import tune  # a second, which no other command shall wait for

        return KINDS[self.kind].of(tune, self.values)


SearchSpace = Mapping[str, Domain]


def parse_domain(key: str, written: Any) -> Domain:
    """Read {"grid": [a, b]}, {"loguniform": [1e-5, 1e-3]} and the like; a bare list is a grid.

    Raises RaysmoothError, naming `key`, for an unknown kind, no values, a value that stands twice, and ends of a range that
    are none.
    """
    if isinstance(written, list):
        written = {"grid": written}
    if not (isinstance(written, Mapping) and len(written) == 1):
        raise RaysmoothError(
            f"search: {key}: write a list, or one of {', '.join(KINDS)} with one, such as {{grid: [1, 2]}}"
        )
    ((kind, values),) = written.items()
    try:
        finite = KINDS[str(kind)].finite
    except RaysmoothError as refusal:
        raise RaysmoothError(f"search: {key}: {refusal}") from None
    if not isinstance(values, list) or not values:
        raise RaysmoothError(f"search: {key}: {kind} has no values: write {key}: {{{kind}: [...]}}, or leave {key} out")
    if finite:
        if len({repr(value) for value in values}) < len(values):
            raise RaysmoothError(f"search: {key}: {kind} has a value twice: write each once")
        return Domain(str(kind), tuple(values))
    try:
        low, high = (int(value) if kind == "randint" else float(value) for value in values)
    except (TypeError, ValueError):
        raise RaysmoothError(f"search: {key}: {kind} takes two numbers, [low, high], not {values}") from None
    if not low < high or (kind == "loguniform" and low <= 0):
        above = "above 0, " if kind == "loguniform" else ""
        raise RaysmoothError(f"search: {key}: {kind} [{low:g}, {high:g}]: write [low, high], {above}low below high")
    return Domain(str(kind), (low, high))


def is_grid(space: SearchSpace) -> bool:
    """Whether every value is tried, so that there is nothing to draw."""
    return all(domain.kind == "grid" for domain in space.values())


def grid_size(space: SearchSpace) -> int:
    """How many combinations the grids among the domains have."""
    return prod(len(domain.values) for domain in space.values() if domain.kind == "grid")


def corners(space: SearchSpace) -> list[dict[str, Any]]:
    """Combinations that tell whether the space can be searched: all of the finite domains' values, and of each range
    its ends.
    """
    return [dict(zip(space, values, strict=True)) for values in product(*(d.values for d in space.values()))]
