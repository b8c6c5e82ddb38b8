"""What becomes of a query: answers, refusals, repetitions, permits, and an end. Time is simulated."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from scripted_api import Happening, ScriptedApi

from raysmooth.actors.apis.answers import Picture
from raysmooth.actors.apis.failures import ApiFailure, BatchRefused, PictureRefused, Throttled, Transient
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.actors.queries.events import Answered, Event, Failed, GivenUp, PermitWanted, ThrottledOnce
from raysmooth.actors.queries.rate_bucket import RateBucket
from raysmooth.actors.queries.sender import Query, Sender, SendingLimits


class RecordingBucket(RateBucket):
    """`takes`: how many pictures were to be sent, each time."""

    async def take(self, pictures: int, succeeded: int = 0) -> None:
        self.takes = [*getattr(self, "takes", []), pictures]
        await super().take(pictures, succeeded)


class Scene:
    """A sender whose pauses take no time, and the events of its queries. `pauses`: how long each was."""

    def __init__(self, script: Sequence[Happening] = (), latency: float = 0.0, **limits: float) -> None:
        self.api = ScriptedApi(script, latency)
        self.now = 0.0
        self.pauses: list[float] = []
        self.bucket = RecordingBucket(None, lambda: self.now, self.sleep)
        settled = {"requests": 2, "pictures": 1, "timeout": 30.0, "patience": 600.0} | limits
        limits_ = SendingLimits(
            int(settled["requests"]), int(settled["pictures"]), settled["timeout"], settled["patience"]
        )
        self.sender = Sender(self.api, limits_, self.bucket, lambda: self.now, self.sleep, lambda low, high: high)
        self.events: list[Event] = []
        self.final = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def submit(self, draw: int, run: int = 0) -> None:
        self.sender.submit(Query(run, key(draw), Picture(np.full((1, 1, 1), draw, np.uint8), b"file"), "0f", self.take))

    def take(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Answered | GivenUp):
            self.final.release()

    async def finals(self, number: int) -> None:
        for _ in range(number):
            await asyncio.wait_for(self.final.acquire(), 20)


def key(draw: int) -> DrawKey:
    return DrawKey("00" * 32, Role.SELECTION, draw)


def play(scene: Callable[[], Awaitable[Scene]]) -> Scene:
    async def whole() -> Scene:
        played = await scene()
        await played.sender.close()
        return played

    return asyncio.run(whole())


def kinds(scene: Scene) -> list[str]:
    return [type(event).__name__ for event in scene.events]


def test_every_picture_is_answered_once_with_bounded_requests() -> None:
    async def act() -> Scene:
        scene = Scene(latency=0.01, requests=3)
        for draw in range(10):
            scene.submit(draw)
        await scene.finals(10)
        return scene

    scene = play(act)
    assert kinds(scene) == ["Answered"] * 10
    assert scene.api.most_in_flight == 3
    assert len(scene.api.requests) == 10
    assert scene.api.closed
    event = scene.events[0]
    assert isinstance(event, Answered)
    assert (event.attempts, event.refused, event.version, event.picture_bytes, event.pixels) == (1, None, "1", 4, "0f")
    assert event.answered >= event.sent > 1.7e9


def test_pictures_share_requests_where_the_api_takes_several() -> None:
    async def act() -> Scene:
        scene = Scene(latency=0.01, requests=2, pictures=16)
        for draw in range(10):
            scene.submit(draw)
        await scene.finals(10)
        return scene

    scene = play(act)
    assert [len(request) for request in scene.api.requests] == [5, 5]


@pytest.mark.parametrize("billed", [False, True])
def test_pictures_of_a_refused_batch_are_sent_one_by_one_at_the_rate_of_all(billed: bool) -> None:
    async def act() -> Scene:
        refusal = PictureRefused("not this one")
        scene = Scene([BatchRefused("not these", billed), None, refusal, None], requests=1, pictures=16)
        for draw in range(3):
            scene.submit(draw)
        while billed and len(scene.events) < 3:
            await asyncio.sleep(0)
        for draw in range(3) if billed else ():
            scene.sender.permit(0, key(draw), granted=True)
        await scene.finals(3)
        return scene

    scene = play(act)
    assert scene.bucket.takes == [3, 1, 1, 1]
    assert kinds(scene) == ["PermitWanted"] * 3 * billed + ["Answered"] * 3
    assert [event.refused for event in scene.events if isinstance(event, Answered)] == [None, "not this one", None]
    assert scene.pauses == [0.0] * 3


def test_throttled_the_same_picture_is_sent_again_without_a_permit() -> None:
    async def act() -> Scene:
        scene = Scene([Throttled("slow down"), Throttled("slow down"), None])
        scene.submit(7)
        await scene.finals(1)
        return scene

    scene = play(act)
    assert kinds(scene) == ["ThrottledOnce", "ThrottledOnce", "Answered"]
    assert scene.api.requests == [[b"\x07"]] * 3
    assert scene.pauses[0] == 0.5
    assert 1.0 in scene.pauses  # doubled
    throttled, last = scene.events[0], scene.events[-1]
    assert isinstance(throttled, ThrottledOnce)
    assert throttled.rate == 10.0  # half of one picture in 0.05 s
    assert isinstance(last, Answered)
    assert last.attempts == 3


def test_what_may_have_been_paid_waits_for_a_permit() -> None:
    async def act() -> Scene:
        scene = Scene([Transient("reset"), None])
        scene.submit(1)
        while not scene.events:
            await asyncio.sleep(0)
        assert len(scene.api.requests) == 1
        await asyncio.sleep(0.01)
        assert len(scene.api.requests) == 1  # no permit, no request
        scene.sender.permit(1, key(1), granted=True)  # of another run
        scene.sender.permit(0, key(1), granted=True)
        await scene.finals(1)
        return scene

    scene = play(act)
    assert kinds(scene) == ["PermitWanted", "Answered"]
    assert scene.events[0] == PermitWanted(key(1), "reset")


def test_without_a_permit_it_is_given_up() -> None:
    async def act() -> Scene:
        scene = Scene([Transient("reset")])
        scene.submit(1)
        while not scene.events:
            await asyncio.sleep(0)
        scene.sender.permit(0, key(1), granted=False)
        await scene.finals(1)
        return scene

    scene = play(act)
    event = scene.events[-1]
    assert isinstance(event, GivenUp)
    assert not event.billed  # the permit's wish has said that
    assert len(scene.api.requests) == 1


def test_what_was_not_billed_is_sent_again_at_once_and_given_up_after_patience() -> None:
    async def act() -> Scene:
        scene = Scene([Transient("unavailable", billed=False)] * 99, patience=100.0)
        scene.submit(1)
        await scene.finals(1)
        return scene

    scene = play(act)
    assert kinds(scene) == ["GivenUp"]
    assert scene.pauses == [0.5, 1, 2, 4, 8, 16, 32]  # 63.5 s; 60 s more would be beyond the patience
    event = scene.events[0]
    assert isinstance(event, GivenUp)
    assert not event.billed
    assert event.reason == "unavailable, and so for 100 s in 8 requests"


def test_given_up_after_a_request_that_may_have_been_paid() -> None:
    async def act() -> Scene:
        scene = Scene([Transient("reset")], patience=0.1)
        scene.submit(1)
        await scene.finals(1)
        return scene

    assert play(act).events == [GivenUp(key(1), "reset, and so for 0.1 s in 1 requests", billed=True)]


def test_a_wait_that_the_api_names_is_kept_or_is_too_long() -> None:
    async def act() -> Scene:
        scene = Scene([Throttled("wait", retry_after=90.0), Throttled("wait", retry_after=3600.0)])
        scene.submit(1)
        await scene.finals(1)
        return scene

    scene = play(act)
    assert kinds(scene) == ["ThrottledOnce", "ThrottledOnce", "GivenUp"]
    assert scene.pauses[0] == 90.0


def test_no_answer_in_time_may_have_been_paid() -> None:
    async def act() -> Scene:
        scene = Scene([5.0], timeout=0.02)
        scene.submit(1)
        while not scene.events:
            await asyncio.sleep(0.001)
        return scene

    assert play(act).events[0] == PermitWanted(key(1), "no answer within 0.02 s")


def test_a_refused_picture_has_its_final_answer() -> None:
    async def act() -> Scene:
        scene = Scene([PictureRefused("a content filter", '{"filter": 1}', "v2")])
        scene.submit(1)
        await scene.finals(1)
        return scene

    event = play(act).events[0]
    assert isinstance(event, Answered)
    assert (event.refused, event.tags, event.raw, event.version) == ("a content filter", (), '{"filter": 1}', "v2")


@pytest.mark.parametrize(
    ("error", "reason", "billed"),
    [
        (ApiFailure("the key is wrong: set KEY"), "the key is wrong: set KEY", False),
        (KeyError("tags"), "KeyError: 'tags'", True),  # an adapter that is wrong about an answer, which is paid
    ],
)
def test_a_failure_ends_everything(error: Exception, reason: str, billed: bool) -> None:
    async def act() -> Scene:
        scene = Scene([error, 0.05], requests=2)
        for draw in range(6):
            scene.submit(draw)
        await scene.finals(6)
        scene.submit(6)
        await scene.finals(1)
        return scene

    scene = play(act)
    assert scene.events[:2] == [Failed(reason), GivenUp(key(0), reason, billed)]
    given_up = [event for event in scene.events[2:] if isinstance(event, GivenUp)]
    assert not any(event.billed for event in given_up)
    assert kinds(scene).count("Answered") == 1  # what was in flight
    assert len(given_up) == 5
    assert len(scene.api.requests) == 2


def test_without_the_bucket_a_throttled_picture_is_sent_again() -> None:
    async def act() -> Scene:
        scene = Scene([Throttled("slow down"), None])

        async def gone(retry_after: float | None) -> float | None:
            raise ConnectionError("the bucket is gone")

        scene.bucket.throttled = gone  # type: ignore[method-assign]
        scene.submit(1)
        await scene.finals(1)
        return scene

    assert kinds(play(act)) == ["ThrottledOnce", "Answered"]


def test_stopped_only_what_is_in_flight_is_answered() -> None:
    async def act() -> Scene:
        scene = Scene([None, Transient("reset"), Transient("unavailable", billed=False)], latency=0.05, requests=3)
        for draw in range(6):
            scene.submit(draw)
        await asyncio.sleep(0.01)
        scene.sender.stop()
        await scene.finals(6)
        return scene

    scene = play(act)
    assert len(scene.api.requests) == 3
    assert scene.events[:3] == [GivenUp(key(draw), "stopped before it was sent") for draw in (3, 4, 5)]
    assert isinstance(scene.events[3], Answered)
    assert scene.events[4:] == [GivenUp(key(1), "reset", billed=True), GivenUp(key(2), "unavailable", billed=False)]


def test_stopped_while_the_rate_holds_it_up() -> None:
    async def act() -> Scene:
        scene = Scene()

        async def never(pictures: int, succeeded: int = 0) -> None:
            await asyncio.sleep(3600)

        scene.bucket.take = never  # type: ignore[method-assign]
        scene.submit(1)
        await asyncio.sleep(0.01)
        scene.sender.stop()
        await scene.finals(1)
        return scene

    scene = play(act)
    assert scene.events == [GivenUp(key(1), "stopped before it was sent")]
    assert not scene.api.requests
