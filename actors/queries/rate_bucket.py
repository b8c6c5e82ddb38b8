"""How fast an API is asked, in one place for all replicas: pictures leave one by one, at a rate that the API's own
answers move: halved when it throttles, and a little more with every success.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, NamedTuple, Protocol

SLACK = 0.05
"""Seconds for which a right to send that was not used is kept: what a timer is late by. There is no larger burst, as
quotas of vendors are counted second by second."""

CUT_SECONDS = 1.0
"""The rate is halved at most once in this time: one burst of refusals is one piece of news."""

RECOVERY = 0.1
"""By which part of the full rate the rate grows in a second without refusals: from half to full in 5 s."""

SMALLEST = 1 / 16
"""The part of the full rate that no refusals take: some APIs refuse at random, however slowly they are asked, and
the pauses of each picture that is refused grow anyway."""

BRIEFEST = 0.05
"""Seconds that the speed is measured over, at least, where no rate is set."""


class BucketState(NamedTuple):
    """`rate`: pictures a second at present, None if unlimited. `waiting`: pictures that may not be sent yet."""

    rate: float | None
    waiting: int


class Bucket(Protocol):
    """`RateBucket`, here or in another process."""

    async def take(self, pictures: int, succeeded: int = 0) -> None:
        """Wait until `pictures` may be sent. `succeeded`: how many were answered since the last call."""

    async def throttled(self, retry_after: float | None) -> float | None:
        """The API refused a request as one too many: all wait for `retry_after` seconds, if it says so. Returns the
        rate from now on, pictures a second.
        """


class RateBucket:
    """`rate`: pictures a second, None for as fast as they come, until the API throttles. Made and used inside one event
    loop; `clock` and `sleep` are those of that loop. Those who ask are served in their order.
    """

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = self._full = rate
        self._clock, self._sleep = clock, sleep
        self._turn = asyncio.Lock()
        self._free_at = self._cut_at = -inf
        self._step, self._floor = RECOVERY * (rate or 0.0), SMALLEST * (rate or 0.0)
        self._taken: deque[tuple[float, int]] = deque()
        self._waiting = 0

    async def take(self, pictures: int, succeeded: int = 0) -> None:
        self._recover(succeeded)
        self._waiting += pictures
        try:
            async with self._turn:
                # Again after every sleep: meanwhile all may have been held up.
                while (left := self._free_at - self._clock()) > 0:
                    await self._sleep(left)
                now = self._clock()
                if self._rate is not None:
                    self._free_at = max(self._free_at, now - SLACK) + pictures / self._rate
                self._taken.append((now, pictures))
                self._forget(now)
        finally:
            self._waiting -= pictures

    async def throttled(self, retry_after: float | None) -> float | None:
        now = self._clock()
        if retry_after is not None:
            self._free_at = max(self._free_at, now + retry_after)
        if now - self._cut_at >= CUT_SECONDS:
            self._cut_at = now
            if self._rate is None:
                self._rate = self._speed(now)
                self._step, self._floor, self._full = RECOVERY * self._rate, SMALLEST * self._rate, inf
            self._rate = max(self._floor, self._rate / 2)
        return self._rate

    async def state(self) -> BucketState:
        return BucketState(self._rate, self._waiting)

    def _recover(self, succeeded: int) -> None:
        if succeeded and self._rate is not None and self._full is not None and self._rate < self._full:
            self._rate = min(self._full, self._rate + self._step * succeeded / self._rate)

    def _speed(self, now: float) -> float:
        """Pictures a second that were sent lately."""
        self._forget(now)
        if not self._taken:
            return 1.0
        seconds = min(1.0, max(BRIEFEST, now - self._taken[0][0]))
        return sum(pictures for _, pictures in self._taken) / seconds

    def _forget(self, now: float) -> None:
        """Leave what was taken in the last second."""
        while self._taken and self._taken[0][0] <= now - 1.0:
            self._taken.popleft()


@dataclass(frozen=True)
class RemoteBucket:
    """A `RateBucket` in an actor of its own; `handle` is Ray's."""

    handle: Any

    async def take(self, pictures: int, succeeded: int = 0) -> None:
        await self.handle.take.remote(pictures, succeeded)

    async def throttled(self, retry_after: float | None) -> float | None:
        rate: float | None = await self.handle.throttled.remote(retry_after)
        return rate
