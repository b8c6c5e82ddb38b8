"""Who is at fault, case by case; and how long a call may take."""

import pytest

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.failures import HOPELESS, MAX_LONE_DEATHS, FailurePolicy
from raysmooth.pipeline.pool.stragglers import PATIENCE, SLOW_SECONDS, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest


def attempt(image_id: int = 1, draws: int = 10, run: int = 0) -> UnitAttempt:
    return UnitAttempt(UnitRequest(WorkUnit(run, Role.ESTIMATION, (Block(image_id, 0, draws),)), {}))


def test_a_unit_is_blamed_only_for_deaths_of_replicas_that_held_nothing_else() -> None:
    policy, one, other = FailurePolicy(), attempt(1), attempt(2)
    assert policy.replica_died([one, other], "gone") is None
    assert (one.suspect, other.suspect) == (True, True)
    for _ in range(MAX_LONE_DEATHS - 1):
        assert policy.replica_died([one], "gone") is None
    result = policy.replica_died([one], "gone")
    assert result is not None
    assert result.request is one.request
    assert result.failure == "the replica died 3 times drawing this alone: gone"
    assert other.lone_deaths == 0


def test_a_unit_that_raises_is_tried_on_a_second_replica() -> None:
    policy, one = FailurePolicy(), attempt()
    assert policy.unit_raised(one, "ValueError: x") is None
    assert one.suspect
    result = policy.unit_raised(one, "ValueError: y")
    assert result is not None
    assert result.failure == "ValueError: y"


def test_a_run_stops_with_the_first_of_many_failures_in_a_row() -> None:
    policy = FailurePolicy()
    policy.replica_died([], "forgotten")
    policy.clear()
    policy.replica_died([], "no such library")
    for _ in range(2 * HOPELESS - 2):
        policy.replica_died([], "something else")
        policy.refuse_hopeless(2)
    policy.replica_died([], "something else")
    with pytest.raises(RaysmoothError, match=r"failed 16 times in a row.*; the first: no such library"):
        policy.refuse_hopeless(2)


def test_a_call_may_take_five_times_as_long_as_others_of_its_size() -> None:
    times, small, large = UnitDurations(), attempt(draws=10).unit, attempt(draws=1000).unit
    assert times.expected(small) is None
    assert times.limit([small]) == PATIENCE
    for seconds in (0.1, 0.2, 9.0):  # a median of 0.02 a draw
        times.record(small, seconds)
    assert times.expected(large) == pytest.approx(20.0)
    assert times.limit([large, large]) == pytest.approx(200.0)
    assert times.limit([small]) == SLOW_SECONDS
    assert times.limit([small, attempt(run=1).unit]) == PATIENCE
