"""What a training objective is, and how one is written: "gaussian", "consistency:m=4,lambda=10".

An objective is a frozen dataclass whose fields are its options; a row of a table says how to build it.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from sys import float_info
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from raysmooth.actors.attacks.soft_smoothing import Model
from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Option, Variant


class Noise(Protocol):
    """`sigma` is the standard deviation of one coordinate, in pixel units."""

    sigma: float

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Fresh noise of the images' shape (B, C, H, W), at every call."""
        ...


class ClassifierObjective(Protocol):
    needs_noise: ClassVar[bool]

    @property
    def chunks(self) -> int:
        """Into how many optimizer steps a recipe's batch is split."""
        ...

    def __call__(
        self, classifier: Model, images: torch.Tensor, labels: torch.Tensor, noise: Noise, epoch: int
    ) -> torch.Tensor:
        """The loss, a scalar. Labels are int64 (B,), epochs count from 0."""
        ...


class DenoiserObjective(Protocol):
    needs_classifier: ClassVar[bool]
    needs_labels: ClassVar[bool]

    def __call__(
        self, denoiser: Model, classifier: Model, images: torch.Tensor, labels: torch.Tensor, noise: Noise
    ) -> torch.Tensor:
        """The loss, a scalar. The classifier is frozen and in eval mode; gradients flow through it."""
        ...


Objective = TypeVar("Objective")


@dataclass(frozen=True)
class ObjectiveEntry(Generic[Objective]):
    """`build` takes the options as keywords; `source` says where the formula and the defaults come from.

    `starts_from` names the objective whose weights training begins with; None begins with fresh ones.
    """

    build: Callable[..., Objective]
    summary: str
    source: str
    starts_from: str | None = None

    @property
    def defaults(self) -> dict[str, Option | None]:
        """Every option under the name that users write, and its default; None for one that has to be given."""
        return {_shown(name): option.default for name, option in inspect.signature(self.build).parameters.items()}


@dataclass(frozen=True)
class Options:
    """The base of objectives: fields made by `whole`, `number` and `choice` are read and checked.

    A field named `lambda_` is written "lambda". Raises RaysmoothError for a value that cannot be.
    """

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            try:
                object.__setattr__(self, option.name, option.metadata["read"](value))
            except RaysmoothError as refusal:
                raise RaysmoothError(f"option {_shown(option.name)}={value}: {refusal}") from None


def whole(default: int, *, least: int) -> Any:
    """An option that is a whole number, at least `least`."""

    def read(value: Option) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RaysmoothError(f"write a whole number, at least {least}")
        return value

    return field(default=default, metadata={"read": read})


def number(default: float | None, *, above_zero: bool = False) -> Any:
    """An option that is a finite number, never negative; a default of None stands for "not given"."""

    def read(value: Option | None) -> float | None:
        if value is None and default is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= float_info.max:
            raise RaysmoothError("write a number")
        if value < 0 or (above_zero and value == 0):
            raise RaysmoothError(f"write a number {'above 0' if above_zero else 'that is 0 or more'}")
        return float(value)

    return field(default=default, metadata={"read": read})


def choice(default: str, table: Registry[Any]) -> Any:
    """An option that names a row of a table."""

    def read(value: Option) -> str:
        _ = table[str(value)]
        return str(value)

    return field(default=default, metadata={"read": read})


def parse_objective(
    text: str, table: Registry[ObjectiveEntry[Objective]]
) -> tuple[str, ObjectiveEntry[Objective], Objective]:
    """Name, row and objective that a text like "consistency:m=4,lambda=10,loss=kl" stands for.

    Raises RaysmoothError for an unknown name or option, with the nearest known one, and for a value that cannot be.
    """
    written = _read(text)
    row = table[written.name]
    keywords = {_shown(name): name for name in inspect.signature(row.build).parameters}
    for key, _ in written.options:
        if key not in keywords:
            known = nearest(key, keywords) if keywords else f"it takes none, write {written.name}"
            raise RaysmoothError(f"{table.what} '{written.name}' has no option '{key}': {known}")
    try:
        return written.name, row, row.build(**{keywords[key]: value for key, value in written.options})
    except RaysmoothError as refusal:
        raise RaysmoothError(f"{table.what} '{written}': {refusal}") from None


def describe(objective: object) -> dict[str, Option]:
    """Every option of an objective as it is in force, under the name that users write."""
    assert isinstance(objective, Options)  # the base of them all
    return {_shown(option.name): getattr(objective, option.name) for option in fields(objective)}


def with_defaults(text: str, defaults: Mapping[str, Option]) -> str:
    """The canonical text of an objective; `defaults` are the options that the text itself does not give."""
    written = _read(text)
    return str(Variant(written.name, tuple(sorted({**defaults, **dict(written.options)}.items()))))


def _read(text: str) -> Variant:
    try:
        return Variant.parse(text)
    except RaysmoothError:
        how = "write NAME or NAME:option=value,option=value, each option once, such as consistency:m=4,lambda=10"
        raise RaysmoothError(f"'{text}' is no objective: {how}") from None


def _shown(name: str) -> str:
    return name.rstrip("_")
