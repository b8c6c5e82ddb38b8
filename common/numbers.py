"""Numbers as users write them: 0.25, 1e-3, or a fraction such as 64/255."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

LONGEST = 1000
"""Characters of a number."""

_DECIMAL = r"(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})"
_FRACTION = re.compile(rf"\s*([+-]?{_DECIMAL})\s*/\s*({_DECIMAL})\s*")


def number(text: str) -> float:
    """The float that is nearest to `text`, so that 1/4 is 0.25. Raises ValueError for text that is not a number."""
    if (value := fraction(text)) is not None:
        return value
    if len(text) > LONGEST:
        raise ValueError(f"{text[:20]}... is too long for a number")
    return float(text)


def numbers(text: str) -> list[float]:
    """The numbers of "0.25, 64/255". Raises ValueError where one between the commas is missing or not a number."""
    return [number(part) for part in text.split(",")]


def fraction(text: str) -> float | None:
    """The value of a text such as "64/255"; None for text of another form, and for a denominator of zero."""
    found = _FRACTION.fullmatch(text)
    if found is None or not (below := Fraction(found[2])):
        return None
    return float(Fraction(found[1]) / below)


def divided_by_zero(text: str) -> str | None:
    """The number above the line in "64/0"; None for text that is no fraction with a denominator of zero."""
    found = _FRACTION.fullmatch(text)
    return found[1] if found is not None and not Fraction(found[2]) else None


def with_fractions(value: Any) -> Any:
    """`value` with numbers in place of all fractions in it, however deep; a text may be a list, as in 32/255,64/255."""
    if isinstance(value, str):
        parts = value.split(",")
        if not all(map(str.strip, parts)) or not any(fraction(part) is not None for part in parts):
            return value  # with a hole it stays as it was written, for the refusal
        read = [part if (found := fraction(part)) is None else found for part in parts]
        return read if len(read) > 1 else read[0]
    if isinstance(value, list | tuple):
        return [with_fractions(one) for one in value]
    if isinstance(value, Mapping):
        return {key: with_fractions(one) for key, one in value.items()}
    return value


def short(value: float) -> str:
    """A number for a message, with at most three significant digits."""
    return f"{value:.3g}"
