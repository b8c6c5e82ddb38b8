"""Sends pictures to an API until each has an answer: how many requests at once, which are sent again, and when."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import NoReturn

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.client import VisionApi
from raysmooth.actors.apis.failures import AdapterFault, ApiFailure, BatchRefused, PictureRefused, Throttled, Transient
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.actors.queries.events import Answered, Event, Failed, GivenUp, PermitWanted, ThrottledOnce
from raysmooth.actors.queries.rate_bucket import Bucket
from raysmooth.common.errors import one_line

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a picture is sent again are drawn from 0 to the first, doubled with every failure up to the other."""

STOPPED = "stopped before it was sent"


@dataclass(eq=False)
class Query:
    """A picture that waits for its answer. `run` and `key` name it; `report` takes its events. `pixels`: SHA-256 of the
    picture's. `seconds`: spent on it so far, without waits. `failing_since`: when it failed first, by the clock.
    `alone`: a request with others beside it was refused, so that it shares none any more.
    """

    run: int
    key: DrawKey
    picture: Picture
    pixels: str
    report: Callable[[Event], None]
    seconds: float = 0.0
    attempts: int = 0
    failures: int = 0
    failing_since: float | None = None
    alone: bool = False

    @property
    def name(self) -> tuple[int, DrawKey]:
        return self.run, self.key


@dataclass(frozen=True)
class SendingLimits:
    """`requests` at once, with at most `pictures` each. `timeout`: seconds for a request. `patience`: seconds for which
    a picture is sent again after transient failures.
    """

    requests: int
    pictures: int
    timeout: float
    patience: float


class Sender:
    """Asks one API, inside one event loop. `clock`, `sleep` and `uniform` are the loop's time and chance."""

    def __init__(
        self,
        api: VisionApi,
        limits: SendingLimits,
        bucket: Bucket,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api, self._limits, self._bucket = api, limits, bucket
        self._clock, self._sleep, self._uniform = clock, sleep, uniform
        self._ready: asyncio.Queue[Query] = asyncio.Queue()
        self._idle, self._succeeded = limits.requests, 0
        self._workers: list[asyncio.Task[NoReturn]] = []
        self._pausing: dict[asyncio.Task[None], Query] = {}
        self._asking: dict[tuple[int, DrawKey], tuple[Query, float]] = {}
        self._taking: set[asyncio.Future[None]] = set()
        self._stopped = False
        self._failure: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether nothing more is sent."""
        return self._stopped

    def submit(self, query: Query) -> None:
        """Have `query` sent; given up at once after `stop`."""
        if self._stopped:
            self.refuse(query.key, query.report)
            return
        if not self._workers:
            self._workers = [asyncio.create_task(self._work()) for _ in range(self._limits.requests)]
        self._ready.put_nowait(query)

    def permit(self, run: int, key: DrawKey, granted: bool) -> None:
        """The answer to a `PermitWanted`: whether the picture may be sent, and paid for, once more."""
        waiting = self._asking.pop((run, key), None)
        if waiting is None:  # given up meanwhile
            return
        query, pause = waiting
        if granted:
            self._send_later(query, pause)
        else:
            self._give_up(query, "the budget has no further request for it")

    def refuse(self, key: DrawKey, report: Callable[[Event], None]) -> None:
        """Report that a draw is not sent (again) after `stop`, and why, if no other draw has reported that yet."""
        if self._failure is not None:
            report(Failed(self._failure))
        report(GivenUp(key, STOPPED))

    def stop(self) -> None:
        """Send nothing more: what is in flight may be answered, all else is given up."""
        self._stopped = True
        queries = [query for query, _ in self._asking.values()]
        while not self._ready.empty():
            queries.append(self._ready.get_nowait())
        self._asking.clear()
        for pause, query in self._pausing.items():
            pause.cancel()
            queries.append(query)
        for query in queries:
            self.refuse(query.key, query.report)
        self._pausing.clear()
        for taking in self._taking:
            taking.cancel()

    async def close(self) -> None:
        """End what is left, and the API's connections."""
        self.stop()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._api.close()

    async def _work(self) -> NoReturn:
        while True:
            queries = [await self._ready.get()]
            # Shared with the others that have nothing to do: many pictures in one request are many that a kill loses.
            share = -(-(1 + self._ready.qsize()) // self._idle)
            while len(queries) < min(share, self._limits.pictures) and not self._ready.empty():
                queries.append(self._ready.get_nowait())
            self._idle -= 1
            try:
                together = [query for query in queries if not query.alone]
                for request in filter(None, (together, *([query] for query in queries if query.alone))):
                    await self._send(request)
            finally:
                self._idle += 1

    async def _send(self, queries: Sequence[Query]) -> None:
        try:
            if not self._stopped:
                await self._take(len(queries))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopped or (task is not None and task.cancelling()):
                raise
        except Exception as error:  # Ray's, of a bucket that is gone: nothing was sent
            self._end(queries, f"the rate is not known any more: {one_line(error)}", billed=False)
            return
        if self._stopped:
            for query in queries:
                self.refuse(query.key, query.report)
            return
        sent, began = time(), self._clock()
        for query in queries:
            query.attempts += 1
        try:
            async with asyncio.timeout(self._limits.timeout):
                answers = await self._api.classify([query.picture for query in queries])
            if len(answers) != len(queries):
                raise ValueError(f"{len(answers)} answers to {len(queries)} pictures")
        except Throttled as error:
            rate = await self._slowed(error.retry_after)
            queries[0].report(ThrottledOnce(queries[0].key, str(error), rate))
            self._failed(queries, Transient(str(error), billed=False, retry_after=error.retry_after))
        except BatchRefused as error:
            for query in queries:
                query.alone = True
                self._send_again(query, error, 0.0)
        except Transient as error:
            self._failed(queries, error)
        except TimeoutError:
            self._failed(queries, Transient(f"no answer within {self._limits.timeout:g} s"))
        except ApiFailure as error:
            self._end(queries, str(error), error.billed)
        except AdapterFault as error:
            self._end(queries, str(error), billed=True)
        except Exception as error:  # of a client that is no adapter, or answers too little: money stops here
            self._end(queries, f"{type(error).__name__}: {one_line(error)}", billed=True)
        else:
            self._succeeded += len(queries)
            for query, answer in zip(queries, answers, strict=True):
                query.seconds += (self._clock() - began) / len(queries)
                query.report(answered(query, answer, sent))

    async def _slowed(self, retry_after: float | None) -> float | None:
        try:
            return await self._bucket.throttled(retry_after)
        except Exception:  # Ray's, of a bucket that is gone: the next one that takes from it says so
            return None

    async def _take(self, pictures: int) -> None:
        succeeded, self._succeeded = self._succeeded, 0
        taking = asyncio.ensure_future(self._bucket.take(pictures, succeeded))
        self._taking.add(taking)
        try:
            await taking
        finally:
            self._taking.discard(taking)

    def _failed(self, queries: Sequence[Query], error: Transient) -> None:
        """Each is sent again later, after a permit if it may have been paid for, or given up."""
        now = self._clock()
        for query in queries:
            query.failures += 1
            query.failing_since = now if query.failing_since is None else query.failing_since
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(query.failures - 1, 30))
            pause = max(self._uniform(0.0, longest), error.retry_after or 0.0)
            if not self._stopped and now + pause - query.failing_since > self._limits.patience:
                reason = f"{error}, and so for {self._limits.patience:g} s in {query.attempts} requests"
                self._give_up(query, reason, error.billed)
            else:
                self._send_again(query, error, pause)

    def _send_again(self, query: Query, error: Transient, pause: float) -> None:
        if self._stopped:
            self._give_up(query, str(error), error.billed)
        elif error.billed:
            self._asking[query.name] = query, pause
            query.report(PermitWanted(query.key, str(error)))
        else:
            self._send_later(query, pause)

    def _send_later(self, query: Query, pause: float) -> None:
        async def wait() -> None:
            await self._sleep(pause)
            self._pausing.pop(task, None)
            self.submit(query)

        task = asyncio.create_task(wait())
        self._pausing[task] = query

    def _end(self, queries: Sequence[Query], reason: str, billed: bool) -> None:
        self._failure = self._failure or reason
        queries[0].report(Failed(reason))
        for query in queries:
            self._give_up(query, reason, billed)
        self.stop()

    @staticmethod
    def _give_up(query: Query, reason: str, billed: bool = False) -> None:
        query.report(GivenUp(query.key, reason, billed))


def answered(query: Query, answer: Answer | PictureRefused, sent: float) -> Answered:
    """The last event of a query, whose last request was `sent` at a time since the epoch."""
    refused = isinstance(answer, PictureRefused)
    return Answered(
        query.key,
        () if isinstance(answer, PictureRefused) else answer.tags,
        str(answer) if refused else None,
        answer.version,
        answer.raw,
        query.attempts,
        sent,
        time(),
        query.pixels,
        len(query.picture.encoded) if query.picture.encoded is not None else query.picture.pixels.nbytes,
        query.seconds,
    )
