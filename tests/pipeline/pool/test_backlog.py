"""What waits, and how it is packed into calls; without Ray."""

from collections import deque

import pytest

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.pool.backlog import CALL_UNITS, Backlog, NextRequest
from raysmooth.pipeline.pool.stragglers import CALL_SECONDS, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest


def request(image_id: int = 1, only: int | None = None, run: int = 0) -> UnitRequest:
    return UnitRequest(WorkUnit(run, Role.ESTIMATION, (Block(image_id, 0, 10),)), {}, only)


def source(*requests: UnitRequest) -> NextRequest:
    left = deque(requests)
    return lambda: left.popleft() if left else None


def backlog(seconds_per_unit: float | None = None) -> Backlog:
    durations = UnitDurations()
    if seconds_per_unit is not None:
        durations.record(request().unit, seconds_per_unit)
    return Backlog(durations)


def images(call: list[UnitAttempt]) -> list[int]:
    return [attempt.unit.image_ids[0] for attempt in call]


def test_a_call_has_one_unit_while_durations_are_unknown() -> None:
    waiting, requests = backlog(), source(request(1), request(2))
    assert images(waiting.next_call(requests)) == [1]
    assert images(waiting.next_call(requests)) == [2]
    assert waiting.next_call(requests) == []


@pytest.mark.parametrize(("units_a_call", "expected"), [(1, 1), (4, 4), (1000, CALL_UNITS)])
def test_a_call_has_as_many_units_as_its_duration_allows(units_a_call: int, expected: int) -> None:
    waiting = backlog(1.001 * CALL_SECONDS / units_a_call)
    assert len(waiting.next_call(lambda: request())) == expected


def test_waiting_units_come_before_new_requests_and_suspects_in_no_ordinary_call() -> None:
    waiting = backlog(CALL_SECONDS / 1000)
    suspect, innocent = UnitAttempt(request(1), suspect=True), UnitAttempt(request(2))
    waiting.add([suspect, innocent])
    assert (len(waiting), waiting.suspects) == (2, 1)
    assert images(waiting.next_call(source(request(3)))) == [2, 3]
    assert waiting.take_suspects() == [suspect]
    assert waiting.take_suspects() == []
    assert not len(waiting)


def test_suspects_are_taken_in_groups_the_strongest_first() -> None:
    waiting = backlog()
    first, second, third, fourth = (UnitAttempt(request(number), suspect=True) for number in range(4))
    waiting.add([first, second])
    waiting.add_suspects([[third], [fourth]])
    assert [waiting.take_suspects() for _ in range(3)] == [[third], [fourth], [first, second]]


def test_what_is_removed_waits_no_more_in_a_group_or_out_of_one() -> None:
    waiting = backlog()
    plain, suspect, left = UnitAttempt(request(1)), UnitAttempt(request(2), suspect=True), UnitAttempt(request(3))
    waiting.add([plain, suspect, left])
    waiting.remove([suspect, plain, UnitAttempt(request(4))])
    assert (len(waiting), waiting.suspects) == (1, 0)
    assert images(waiting.next_call(source())) == [3]


def test_a_unit_for_one_image_travels_alone() -> None:
    """Its blank images have the ids of real ones."""
    waiting, requests = backlog(CALL_SECONDS / 1000), source(request(1), request(2, only=2), request(3))
    assert [images(waiting.next_call(requests)) for _ in range(3)] == [[1], [2], [3]]


def test_attempts_that_are_done_or_unwanted_are_dropped() -> None:
    waiting = backlog()
    done, unwanted, kept = UnitAttempt(request(1), done=True), UnitAttempt(request(2)), UnitAttempt(request(3))
    waiting.add([done, unwanted, kept])
    waiting.add_suspects([[UnitAttempt(request(4), suspect=True, done=True), UnitAttempt(request(2), suspect=True)]])
    waiting.drop_unwanted(lambda unit: unit.image_ids != (2,))
    assert images(waiting.next_call(source())) == [3]
    assert (waiting.next_call(source()), waiting.suspects) == ([], 0)
