"""Numbers as text, rounded so that none looks better than it is."""

from decimal import MAX_PREC, Context, Decimal
from fractions import Fraction
from math import floor


def floored(x: float | Fraction, digits: int) -> str:
    """`x` with `digits` >= 0 decimals, rounded towards minus infinity from its exact value.

    The printed number never exceeds `x` and is less than 10^-digits below it. Raises ValueError or OverflowError for
    NaN and infinities.
    """
    units = floor(Fraction(x) * 10**digits)
    return f"{Decimal(units).scaleb(-digits, Context(prec=MAX_PREC)):f}"


def percent(share: float, of: int, up: bool = False) -> str:
    """A share of `of` >= 1 items in percent with one decimal, rounded down; `up` for a share that is better small.

    Computed from the number of items, because 57 of 100 is stored as 0.5699999999999999556, which would print as 56.9.
    """
    exact = Fraction(100 * round(share * of), of)
    return floored(-exact, 1).removeprefix("-") if up else floored(exact, 1)
