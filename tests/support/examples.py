"""How often properties and simulations are tried: in the inner loop (`make check`) a fifth of it."""

from typing import Any

from hypothesis import settings


def examples(number: int, **others: Any) -> settings:
    """Settings of a property test with another number of examples than hypothesis' 100."""
    return settings(max_examples=max(5, repeats(number)), deadline=None, **others)


def repeats(number: int) -> int:
    """The number of repetitions of a simulation: of `number` as much as the loaded profile's examples are of 100."""
    return number * settings.default.max_examples // 100
