"""The rate of queries, by a clock that only sleeping moves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.actors.queries.rate_bucket import SLACK, RateBucket


class Clock:
    """A clock that stands still but for sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def bucket(rate: float | None) -> tuple[RateBucket, Clock]:
    clock = Clock()
    return RateBucket(rate, clock, clock.sleep), clock


async def times(asked: RateBucket, clock: Clock, takes: int, pictures: int = 1, succeeded: int = 0) -> list[float]:
    """When each of several takes, all waiting from the start, may send."""
    left: list[float] = []

    async def one() -> None:
        await asked.take(pictures, succeeded)
        left.append(clock.now)

    await asyncio.gather(*(one() for _ in range(takes)))
    return left


def test_pictures_leave_one_by_one() -> None:
    full, clock = bucket(10.0)
    assert asyncio.run(times(full, clock, 4)) == pytest.approx([100.0, 100.05, 100.15, 100.25])


def test_requests_count_by_their_pictures() -> None:
    full, clock = bucket(10.0)
    assert asyncio.run(times(full, clock, 3, pictures=5)) == pytest.approx([100.0, 100.45, 100.95])


def test_without_a_rate_none_waits() -> None:
    full, clock = bucket(None)
    assert asyncio.run(times(full, clock, 1000)) == [100.0] * 1000


@given(
    st.floats(0.5, 200),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 16)), min_size=1, max_size=60),
)
def test_no_second_has_more_than_the_rate(rate: float, asks: list[tuple[float, int]]) -> None:
    """But for one request, and the slack of a timer."""
    full, clock = bucket(rate)
    sent: list[tuple[float, int]] = []

    async def ask() -> None:
        for pause, pictures in asks:
            clock.now += pause
            await full.take(pictures)
            sent.append((clock.now, pictures))

    asyncio.run(ask())
    most = max(pictures for _, pictures in asks)
    for begin, _ in sent:
        within = sum(pictures for when, pictures in sent if begin <= when < begin + 1)
        assert within <= rate * (1 + SLACK) + most + 1e-6


def test_throttling_halves_the_rate_once_a_second() -> None:
    full, clock = bucket(40.0)

    async def throttle() -> list[float | None]:
        rates = []
        for pause in (0.0, 0.5, 0.4, 0.2, 1.0):
            clock.now += pause
            rates.append(await full.throttled(None))
        return rates

    assert asyncio.run(throttle()) == [20.0, 20.0, 20.0, 10.0, 5.0]


def test_the_rate_never_ends() -> None:
    full, clock = bucket(1.0)

    async def throttle() -> float | None:
        for _ in range(20):
            clock.now += 2
            await full.throttled(None)
        return (await full.state()).rate

    assert asyncio.run(throttle()) == 1 / 16


def test_retry_after_holds_all_up() -> None:
    full, clock = bucket(10.0)

    async def hold() -> list[float]:
        waiting = asyncio.create_task(times(full, clock, 3))
        await asyncio.sleep(0)
        await full.throttled(7.0)
        return await waiting

    first, second, third = asyncio.run(hold())
    assert second >= 107.0
    assert third == pytest.approx(second + 1 / 5 - SLACK, abs=0.06)  # at half the rate
    assert first in (100.0, 107.0)


def test_without_a_rate_half_of_what_was_sent_is_the_new_one() -> None:
    full, clock = bucket(None)

    async def throttle() -> float | None:
        for _ in range(60):
            clock.now += 0.025  # 40 a second
            await full.take(1)
        return await full.throttled(None)

    assert asyncio.run(throttle()) == pytest.approx(20.0, rel=0.03)
    soon, later = bucket(None)

    async def at_once() -> float | None:
        for _ in range(8):
            await soon.take(1)
        later.now += 0.2
        return await soon.throttled(None)

    assert asyncio.run(at_once()) == pytest.approx(20.0)  # eight in a fifth of a second


def test_random_refusals_slow_down_but_do_not_stop() -> None:
    full, clock = bucket(100.0)

    async def ask() -> None:
        for number in range(3000):
            await full.take(1, succeeded=1)
            if number % 4 == 0:
                await full.throttled(None)

    asyncio.run(ask())
    assert clock.now - 100.0 < 3000 / 100.0 * 8


def test_successes_bring_the_rate_back() -> None:
    full, clock = bucket(40.0)

    async def recover() -> list[float | None]:
        await full.throttled(None)
        began, rates = clock.now, [(await full.state()).rate]
        for seconds in (2, 20):
            while clock.now < began + seconds:
                await full.take(1, succeeded=1)
            rates.append((await full.state()).rate)
        return rates

    halved, later, full_rate = asyncio.run(recover())
    assert halved == 20.0
    assert later == pytest.approx(28.0, abs=0.5)  # a tenth of 40 a second, for 2 s
    assert full_rate == 40.0
