"""Rejectors by name: a new one is an entry. A rejector decides which draws support no class (sample rejection of
Sheikholeslami et al.); the class that each of them would have supported is counted all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, read_options
from raysmooth.common.variant import Variant

if TYPE_CHECKING:
    from raysmooth.actors.models.rejection_rules import Rejector

NO_REJECTOR = "none"

UNANSWERED = "unanswered"
"""What a run of a vision API has in place of a rejector, and no one can write: the API itself leaves a picture without
a label, or refuses it. Such a draw has the label K + code, as a rejected one, counts in n, and supports no class. There
is no class that it would have had.
"""

_Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Confidence(Options):
    """`threshold`: draws whose largest softmax is below it are rejected."""

    threshold: _Probability


@dataclass(frozen=True)
class Margin(Options):
    """`threshold`: draws whose two largest softmax values are closer than that are rejected."""

    threshold: _Probability


@dataclass(frozen=True)
class Entropy(Options):
    """`threshold`: draws whose softmax has a larger entropy, in nats, are rejected."""

    threshold: Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Network(Options):
    """`threshold`: draws whose head gives a probability above it are rejected. `width` and `depth` are those of
    `RejectorNetwork`; with weights, their card has them.
    """

    threshold: _Probability = 0.5
    width: Annotated[int, Field(ge=1, le=1024)] = 64
    depth: int = 34


@plain_dataclass(frozen=True)
class RejectorEntry:
    """`options`: what may be written after the name. `build` makes a rule from them; a rejector that is `trained` is
    made from its weights and their card instead.
    """

    options: type[Options]
    build: "Callable[..., Rejector]"
    summary: str
    trained: bool = False


_RULES = "raysmooth.actors.models.rejection_rules"

REJECTORS: Registry[RejectorEntry] = Registry(
    "rejector",
    {
        "confidence": RejectorEntry(
            Confidence,
            LateCallable(f"{_RULES}:LowConfidence"),
            "the largest softmax is below threshold, 0 to 1; option threshold",
        ),
        "margin": RejectorEntry(
            Margin,
            LateCallable(f"{_RULES}:SmallMargin"),
            "the two largest softmax values are closer than threshold, 0 to 1; option threshold",
        ),
        "entropy": RejectorEntry(
            Entropy,
            LateCallable(f"{_RULES}:HighEntropy"),
            "the softmax has an entropy above threshold, in nats; option threshold",
        ),
        "network": RejectorEntry(
            Network,
            LateCallable(f"{_RULES}:NetworkRejector"),
            "a trained network says so, by train rejector; options threshold=0.5, width=64, depth=34",
            trained=True,
        ),
    },
)


def read_rejector(text: str) -> tuple[Variant, Options]:
    """The rejector `text` names, and its options. The caller handles "none" (no rejector).

    Raises RaysmoothError for an unknown name, and options that are unknown, missing or out of range.
    """
    written = Variant.parse_entry(text, "rejector", "confidence:threshold=0.6")
    if written.name not in REJECTORS:
        raise RaysmoothError(f"unknown rejector '{written.name}': {nearest(written.name, [*REJECTORS, NO_REJECTOR])}")
    return written, read_options(REJECTORS[written.name].options, written, "rejector")
