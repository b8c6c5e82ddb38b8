"""Numbers of examples of property tests that differ from hypothesis' 100."""

from typing import Any

from hypothesis import settings


def examples(number: int, **others: Any) -> settings:
    """Settings with this number of examples; in the inner loop with as much of it as its profile has of 100."""
    return settings(max_examples=max(5, number * settings.default.max_examples // 100), deadline=None, **others)
