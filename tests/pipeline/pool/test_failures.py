"""Whose fault it is, case by case; and how long a call may take."""

import pytest

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.failures import BLAME, HOPELESS, FailurePolicy
from raysmooth.pipeline.pool.stragglers import PATIENCE, SLOW_SECONDS, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest


def errand(image_id: int = 1, draws: int = 10, run: int = 0) -> UnitAttempt:
    return UnitAttempt(UnitRequest(WorkUnit(run, Role.ESTIMATION, (Block(image_id, 0, draws),)), {}))


def test_a_unit_is_blamed_for_deaths_with_nothing_else_in_hand() -> None:
    blame, one, other = FailurePolicy(), errand(1), errand(2)
    assert blame.died([one, other], "gone") == []
    assert (one.suspect, other.suspect) == (True, True)
    for _ in range(BLAME - 1):
        assert blame.died([one], "gone") == []
    (outcome,) = blame.died([one], "gone")
    assert outcome.order is one.order
    assert outcome.failure == "the replica died 3 times drawing this alone: gone"
    assert other.blamed == 0


def test_a_unit_that_raises_is_tried_on_a_second_replica() -> None:
    blame, one = FailurePolicy(), errand()
    assert blame.raised(one, "ValueError: x") is None
    assert one.suspect
    outcome = blame.raised(one, "ValueError: y")
    assert outcome is not None
    assert outcome.failure == "ValueError: y"


def test_a_run_stops_with_the_first_of_many_failures_in_a_row() -> None:
    blame = FailurePolicy()
    blame.died([], "forgotten")
    blame.clear()
    blame.died([], "no such library")
    for _ in range(2 * HOPELESS - 2):
        blame.died([], "something else")
        blame.refuse_hopeless(2)
    blame.died([], "something else")
    with pytest.raises(RaysmoothError, match=r"failed 16 times in a row.*; the first: no such library"):
        blame.refuse_hopeless(2)


def test_a_call_may_take_five_times_as_long_as_others_of_its_size() -> None:
    times, small, large = UnitDurations(), errand(draws=10).unit, errand(draws=1000).unit
    assert times.expected(small) is None
    assert times.limit([small]) == PATIENCE
    for seconds in (0.1, 0.2, 9.0):  # a median of 0.02 a draw
        times.learn(small, seconds)
    assert times.expected(large) == pytest.approx(20.0)
    assert times.limit([large, large]) == pytest.approx(200.0)
    assert times.limit([small]) == SLOW_SECONDS
    assert times.limit([small, errand(run=1).unit]) == PATIENCE
