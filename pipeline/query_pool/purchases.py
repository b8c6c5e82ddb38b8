"""What every request does to budget and logs: money is reserved and the request is on the disk before it is sent; what
may have been billed is charged.
"""

from collections.abc import Sequence
from time import monotonic

from raysmooth.actors.queries.events import Answered, GivenUp
from raysmooth.pipeline.queries.budget import Budget
from raysmooth.pipeline.queries.query_log import QueryLog
from raysmooth.pipeline.query_pool.open_units import OpenDraw

COMMIT_SECONDS = 0.1
"""How long an answer may wait for others that go to the disk together with it."""


class Purchases:
    """The requests of one pool. `unsaved`: draws whose answers are in no commit yet."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.unsaved: list[OpenDraw] = []
        self._since = 0.0
        self._logs: dict[int, QueryLog] = {}

    def intend(self, draws: Sequence[OpenDraw]) -> int:
        """Reserve a request for each of the first of `draws`, and enter it in its log; returns how many of them the
        budget covers. They may be sent after the next `commit`.
        """
        granted = self.budget.reserve(len(draws))
        by_log: dict[int, list[OpenDraw]] = {}
        for draw in draws[:granted]:
            draw.reserved = True
            by_log.setdefault(id(draw.log), []).append(draw)
        for held in by_log.values():
            self._touched(held[0].log).intend([draw.key for draw in held], self.budget.price)
        return granted

    def intend_again(self, draw: OpenDraw) -> bool:
        """A request for `draw` may have been billed: charge it, and intend another one, if the budget covers that."""
        self.lost([draw])
        return self.intend([draw]) == 1

    def answered(self, draw: OpenDraw, event: Answered) -> None:
        """Enter the final answer; one that was found without a request costs nothing."""
        if not self.unsaved:
            self._since = monotonic()
        self.unsaved.append(draw)
        log = self._touched(draw.log)
        if event.attempts:
            self.lost([draw])
        else:
            self._return(draw)
        log.add(event, self.budget.price if event.attempts else 0, draw.image_id)

    def given_up(self, draw: OpenDraw, event: GivenUp) -> None:
        """Enter that no request for `draw` is open any more."""
        if event.billed:
            self.lost([draw])
        else:
            self._return(draw)

    def lost(self, draws: Sequence[OpenDraw]) -> None:
        """Their open requests may have been billed: charge them. The log has entered that before they were sent."""
        reserved = [draw for draw in draws if draw.reserved]
        for draw in reserved:
            draw.reserved = False
        self.budget.charge(len(reserved))

    @property
    def is_due(self) -> bool:
        """Whether answers have waited long enough for others."""
        return bool(self.unsaved) and monotonic() - self._since >= COMMIT_SECONDS

    def commit(self) -> list[OpenDraw]:
        """All that was entered is on the disk when this returns; the draws whose answers are there now."""
        logs, self._logs = self._logs, {}
        for log in logs.values():
            log.commit()
        saved, self.unsaved = self.unsaved, []
        return saved

    def _return(self, draw: OpenDraw) -> None:
        """Its open request was not billed."""
        if draw.reserved:
            draw.reserved = False
            self.budget.release(1)
            self._touched(draw.log).abandon([draw.key])

    def _touched(self, log: QueryLog) -> QueryLog:
        self._logs[id(log)] = log
        return log
