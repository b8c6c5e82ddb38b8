"""Money that is reserved before a picture is sent, so that no order of answers, failures and kills exceeds a budget."""

from fractions import Fraction

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.logged_answer import BILLIONTHS, billionths


class Budget:
    """`spent`: what the queries of all runs in a folder of results have cost, with those in flight when a process was
    killed. `price`: dollars for one query, None if unknown. `dollars` and `max_queries` limit the sum of
    what is spent and what is reserved; None is no limit. Not for several threads.

    A query is reserved, then sent, then charged, or released if it is known not to have been billed. Raises
    RaysmoothError for a limit in dollars without a price.
    """

    def __init__(
        self, spent: Charges, price: float | None = None, dollars: float | None = None, max_queries: int | None = None
    ) -> None:
        if dollars is not None and price is None:
            raise RaysmoothError("--budget needs the price of a query: write --price-per-1000 too, or --max-queries")
        self.spent, self.price = spent, billionths(price or 0)
        """The price in billionths of a dollar, as the query log takes it."""
        self.reserved = 0
        self._most_cost = None if dollars is None else int(Fraction(repr(dollars)) * BILLIONTHS)
        self._most_queries = max_queries

    @property
    def left(self) -> int | None:
        """How many queries can be reserved now; None if there is no limit."""
        rooms = []
        if self._most_queries is not None:
            rooms.append(self._most_queries - self.spent.queries - self.reserved)
        if self._most_cost is not None and self.price:
            rooms.append((self._most_cost - self.spent.cost) // self.price - self.reserved)
        return max(0, min(rooms)) if rooms else None

    @property
    def dollars_left(self) -> float | None:
        """What is left of the limit in dollars, reservations not subtracted; None if there is no such limit."""
        return None if self._most_cost is None else max(0, self._most_cost - self.spent.cost) / BILLIONTHS

    def reserve(self, queries: int) -> int:
        """Reserve up to `queries`; returns the number granted, perhaps 0."""
        granted = queries if self.left is None else min(queries, self.left)
        self.reserved += granted
        return granted

    def release(self, queries: int) -> None:
        """`queries` of the reserved ones were not billed. Raises ValueError for more than are reserved."""
        self._take(queries)

    def charge(self, queries: int) -> None:
        """`queries` of the reserved ones were answered, or may have been billed. Raises ValueError for more than are
        reserved.
        """
        self._take(queries)
        self.spent += Charges(queries, 0, queries * self.price)

    def _take(self, queries: int) -> None:
        if not 0 <= queries <= self.reserved:
            raise ValueError(f"{queries} queries of {self.reserved} that are reserved")
        self.reserved -= queries
