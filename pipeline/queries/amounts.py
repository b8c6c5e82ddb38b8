"""Numbers of queries and of dollars, as people read them."""

from decimal import ROUND_CEILING, Decimal


def queries(number: int) -> str:
    """A number with its noun: "1 query", "12,100 queries"."""
    return f"{number:,} quer{'y' if number == 1 else 'ies'}"


def planned(queries: float, price: float) -> float:
    """What `queries` at `price` dollars each will cost: never less, in whole cents unless it is less than one."""
    cost = Decimal(repr(queries)) * Decimal(repr(price))
    return float(cost.quantize(Decimal("0.01"), ROUND_CEILING) if cost >= Decimal("0.01") else cost)


def in_dollars(amount: float) -> str:
    """$12.34; amounts below a cent have as many digits as it takes to see them."""
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.2g}"
