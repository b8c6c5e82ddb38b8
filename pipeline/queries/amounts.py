"""Numbers of queries and of dollars, as people read them."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_CENT = Decimal("0.01")


def queries(number: int) -> str:
    """A number with its noun: "1 query", "12,100 queries"."""
    return f"{number:,} quer{'y' if number == 1 else 'ies'}"


def in_dollars(amount: float, is_left: bool = False) -> str:
    """$12.34, never less than the amount: it is a cost. Where it `is_left` of a budget, never more. Amounts below a
    cent have as many digits as it takes to see them.
    """
    exact = Decimal(repr(round(amount, 9)))  # as a float, 7 times $0.01 is more than $0.07
    if 0 < exact < _CENT:
        return f"${exact:.2g}"
    return f"${exact.quantize(_CENT, ROUND_FLOOR if is_left else ROUND_CEILING):,}"
