"""What a sweep varies: for each setting of a training, a set of values or a range of numbers to sample from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite, prod
from types import ModuleType
from typing import Any

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.numbers import number
from raysmooth.common.registry import Registry

LARGEST_INTEGER = 2**53


@dataclass(frozen=True)
class DomainType:
    """`finite`: the values are all there are; otherwise they are the ends (low, high) of a range to sample from.
    `make` makes Ray Tune's domain, given the module ray.tune and the values.
    """

    finite: bool
    make: Callable[[ModuleType, Sequence[Any]], Any]


DOMAIN_TYPES: Registry[DomainType] = Registry(
    "domain",
    {
        "grid": DomainType(True, lambda tune, values: tune.grid_search(list(values))),
        "choice": DomainType(True, lambda tune, values: tune.choice(list(values))),
        "uniform": DomainType(False, lambda tune, values: tune.uniform(*values)),
        "loguniform": DomainType(False, lambda tune, values: tune.loguniform(*values)),
        "randint": DomainType(False, lambda tune, values: tune.randint(values[0], values[1] + 1)),
    },
)


@dataclass(frozen=True)
class Domain:
    """`values` are all values, or the ends of a range, both included; `type` is a name in `DOMAIN_TYPES`."""

    type: str
    values: tuple[Any, ...]

    @property
    def finite(self) -> bool:
        return DOMAIN_TYPES[self.type].finite

    @property
    def for_ray_tune(self) -> Any:
        """The domain as Ray Tune's own."""
        from ray import tune  # takes a second, which other commands should not wait for

        return DOMAIN_TYPES[self.type].make(tune, self.values)


SearchSpace = Mapping[str, Domain]


def parse_domain(key: str, written: Any) -> Domain:
    """Read {"grid": [a, b]}, {"loguniform": [1e-5, 1e-3]} and the like; a bare list is a grid.

    Raises RaysmoothError, naming `key`, for an unknown type, no values, a repeated value, and an invalid range.
    """
    if isinstance(written, list):
        written = {"grid": written}
    if not (isinstance(written, Mapping) and len(written) == 1):
        raise RaysmoothError(
            f"search: {key}: write a list, or one of {', '.join(DOMAIN_TYPES)} with one, such as {{grid: [1, 2]}}"
        )
    ((name, values),) = written.items()
    name = str(name)
    try:
        finite = DOMAIN_TYPES[name].finite
    except RaysmoothError as error:
        raise RaysmoothError(f"search: {key}: {error}") from None
    if not isinstance(values, list) or not values:
        raise RaysmoothError(f"search: {key}: {name} has no values: write {key}: {{{name}: [...]}}, or leave {key} out")
    return Domain(name, _distinct(key, name, values) if finite else _range(key, name, values))


def _distinct(key: str, name: str, values: list[Any]) -> tuple[Any, ...]:
    if len({repr(value) for value in values}) < len(values):
        raise RaysmoothError(f"search: {key}: {name} has a value twice: write each once")
    return tuple(values)


def _range(key: str, name: str, values: list[Any]) -> tuple[Any, Any]:
    try:
        low, high = (int(value) if name == "randint" else number(str(value)) for value in values)
    except (TypeError, ValueError, OverflowError):
        found = printable(str(values))
        raise RaysmoothError(f"search: {key}: {name} takes two numbers, [low, high], not {found}") from None
    if not (isfinite(low) and isfinite(high) and isfinite(high - low)):
        raise RaysmoothError(f"search: {key}: {name} [{low:g}, {high:g}]: the range must be finite")
    if name == "randint" and max(-low, high) >= LARGEST_INTEGER:
        raise RaysmoothError(f"search: {key}: {name} [{low}, {high}]: whole numbers below 2**53 only")
    if not low < high or (name == "loguniform" and low <= 0):
        above = "above 0, " if name == "loguniform" else ""
        raise RaysmoothError(f"search: {key}: {name} [{low:g}, {high:g}]: write [low, high], {above}low below high")
    return low, high


def is_grid(space: SearchSpace) -> bool:
    """Whether every combination is tried, so that nothing is sampled."""
    return all(domain.type == "grid" for domain in space.values())


def grid_size(space: SearchSpace) -> int:
    """The number of combinations of the grids in `space`."""
    return prod(len(domain.values) for domain in space.values() if domain.type == "grid")


def combinations(space: SearchSpace) -> list[dict[str, Any]]:
    """The combinations to check before a search: all values of finite domains, and both ends of each range."""
    return [dict(zip(space, values, strict=True)) for values in product(*(d.values for d in space.values()))]
