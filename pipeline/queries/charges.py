"""What queries have cost: those that were answered, and those that may have been paid for without an answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.pipeline.queries.logged_answer import BILLIONTHS


@dataclass(frozen=True)
class Charges:
    """`answered` queries were sent and have an answer; `unanswered` ones may have been paid for and have none: those in
    flight now or when a process was killed, and failed requests that may have reached the model. `cost`: billionths of
    a dollar, of both.
    """

    answered: int = 0
    unanswered: int = 0
    cost: int = 0

    @property
    def queries(self) -> int:
        return self.answered + self.unanswered

    @property
    def dollars(self) -> float:
        return self.cost / BILLIONTHS

    def __add__(self, other: "Charges") -> "Charges":
        return Charges(self.answered + other.answered, self.unanswered + other.unanswered, self.cost + other.cost)


@dataclass
class SentQueries:
    """Queries that were sent and have no answer. `in_flight`: for each draw the prices of its open requests; `lost` and
    `lost_cost`: requests that will never be answered.
    """

    in_flight: dict[DrawKey, list[int]] = field(default_factory=dict)
    lost: int = 0
    lost_cost: int = 0

    @property
    def charges(self) -> Charges:
        open_prices = [price for prices in self.in_flight.values() for price in prices]
        return Charges(0, self.lost + len(open_prices), self.lost_cost + sum(open_prices))

    def send(self, keys: Iterable[DrawKey], price: int) -> None:
        """Each of them is about to be sent, once (again)."""
        for key in keys:
            self.in_flight.setdefault(key, []).append(price)

    def settle(self, key: DrawKey) -> None:
        """One request for a draw is answered: its cost is the answer's from now on. Earlier ones are lost."""
        self._lose(self.in_flight.pop(key, [])[:-1])

    def waste(self, key: DrawKey, price: int) -> None:
        """A request for a draw is answered that has an answer already."""
        self._lose(self.in_flight.pop(key, []) or [price])

    def abandon(self, keys: Iterable[DrawKey]) -> None:
        """One request for each draw is known not to have been billed. Raises KeyError for one that is not in flight."""
        for key in keys:
            prices = self.in_flight[key]
            prices.pop()
            if not prices:
                del self.in_flight[key]

    def lose_all(self) -> None:
        """Their process is gone: no answer will come."""
        for prices in self.in_flight.values():
            self._lose(prices)
        self.in_flight = {}

    def _lose(self, prices: list[int]) -> None:
        self.lost += len(prices)
        self.lost_cost += sum(prices)
