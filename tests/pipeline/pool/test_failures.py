"""Who is at fault, case by case; and how long a call may take."""

from collections import deque

import pytest
from scipy.stats import binom

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.death_causes import DeathCause
from raysmooth.pipeline.pool.failures import (
    CHANCE,
    CONTROL_SECONDS,
    FIRST_STANDSTILL,
    HOPELESS,
    MAX_LONE_DEATHS,
    MOST_LONE_DEATHS,
    STANDSTILL,
    FailurePolicy,
)
from raysmooth.pipeline.pool.stragglers import PATIENCE, SLOW_SECONDS, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest


def attempt(image_id: int = 1, draws: int = 10, run: int = 0) -> UnitAttempt:
    return UnitAttempt(UnitRequest(WorkUnit(run, Role.ESTIMATION, (Block(image_id, 0, draws),)), {}))


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("raysmooth.pipeline.pool.failures.monotonic", lambda: self.now)


def deaths_until_found(culprit: int, units: int, seconds: float) -> int:
    """Replicas die until the culprit is given up, of `units` that one held; each takes `seconds` to die."""
    policy, attempts = FailurePolicy(), [attempt(number) for number in range(units)]
    groups, deaths = deque([attempts]), 0
    while groups:
        group = groups.popleft()
        policy.drew(seconds)
        if attempts[culprit] not in group:
            continue
        deaths += 1
        assert policy.blames_units(group, DeathCause.UNKNOWN, "gone")
        parts = policy.suspect(group)
        assert sorted(map(id, group)) == sorted(id(one) for part in parts for one in part)
        if len(group) == 1 and policy.died_alone(group[0], seconds, "gone"):
            return deaths
        groups.extendleft(reversed(parts))
    raise AssertionError("never found")


@pytest.mark.parametrize("seconds", [0.0, 0.3, 30.0])
@pytest.mark.parametrize("units", [64, 160])
def test_a_culprit_is_found_in_ten_deaths_wherever_it_is(units: int, seconds: float) -> None:
    """Also where units take so long that it needs MOST_LONE_DEATHS."""
    deaths = [deaths_until_found(culprit, units, seconds) for culprit in range(units)]
    lone = MAX_LONE_DEATHS if seconds < 1 else MOST_LONE_DEATHS
    assert max(deaths) == {64: 3, 160: 4}[units] + lone
    assert max(deaths) <= 10


def test_a_unit_is_blamed_only_for_deaths_of_replicas_that_drew_nothing_else() -> None:
    policy, one, other = FailurePolicy(), attempt(1), attempt(2)
    assert policy.suspect([one, other]) == [[one], [other]]
    assert (one.suspect, other.suspect) == (True, True)
    for _ in range(MAX_LONE_DEATHS - 1):
        policy.suspect([one])
        assert policy.died_alone(one, 0.1, "gone") is None
    policy.suspect([one])
    result = policy.died_alone(one, 0.1, "gone")
    assert result is not None
    assert result.request is one.request
    assert result.failure == "the replica died 3 times drawing this alone: gone"
    assert other.lone_deaths == 0


def test_where_replicas_die_anyway_it_takes_more_deaths_to_blame_a_unit() -> None:
    policy, one = FailurePolicy(), attempt(1)
    policy.drew(200.0 - CONTROL_SECONDS)
    for number in range(20):
        policy.suspect([attempt(10 + number)])
    found = []
    for _ in range(10):
        policy.suspect([one])
        found.append(policy.died_alone(one, 2.0, "gone") is not None)
        if found[-1]:
            break
    # P(X >= k), X binomial of 20 + k deaths, each of them with probability 2 k / 200 while the unit was drawn.
    chances = [float(binom.sf(k - 1, 20 + k, 0.01 * k)) for k in range(1, len(found) + 1)]
    assert len(found) > MOST_LONE_DEATHS
    assert found == [chance <= CHANCE and k >= MAX_LONE_DEATHS for k, chance in enumerate(chances, 1)]


def test_deaths_of_a_unit_that_was_given_up_do_not_excuse_others() -> None:
    policy = FailurePolicy()
    for number in range(50):
        one, deaths = attempt(number), 0
        while True:
            policy.suspect([one])
            deaths += 1
            if policy.died_alone(one, 0.1, "gone"):
                break
        assert deaths == MAX_LONE_DEATHS


def test_a_unit_that_raises_is_tried_on_a_second_replica() -> None:
    policy, one = FailurePolicy(), attempt()
    assert policy.unit_raised(one, "ValueError: x") is None
    assert one.suspect
    result = policy.unit_raised(one, "ValueError: y")
    assert result is not None
    assert result.failure == "ValueError: y"


@pytest.mark.parametrize(("finished", "patience"), [(False, FIRST_STANDSTILL), (True, STANDSTILL)])
def test_a_run_stops_with_the_first_of_many_deaths_in_a_row_after_a_while(
    finished: bool, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where units have been finished, replicas that are killed while they start may be a bad minute."""
    clock = Clock(monkeypatch)
    policy = FailurePolicy()
    policy.blames_units([], DeathCause.STARTING, "forgotten")
    if finished:
        policy.clear()
    else:
        policy = FailurePolicy()
    clock.now = 1000.0
    policy.blames_units([], DeathCause.STARTING, "no such library")
    for _ in range(2 * HOPELESS - 2):
        policy.blames_units([], DeathCause.STARTING, "something else")
        clock.now = 1000.0 + patience + 1
        policy.refuse_hopeless(2)
        clock.now = 1000.0 + patience - 1
    policy.blames_units([], DeathCause.STARTING, "something else")
    policy.refuse_hopeless(2)
    clock.now = 1000.0 + patience + 1
    with pytest.raises(RaysmoothError, match=r"failed 16 times in a row.*; the first: no such library"):
        policy.refuse_hopeless(2)


def test_exceptions_in_a_row_stop_a_run_at_once_and_deaths_from_outside_never() -> None:
    policy, many = FailurePolicy(), 100 * HOPELESS
    for _ in range(many):
        assert not policy.blames_units([attempt()], DeathCause.OUTSIDE, "the node was lost")
    policy.refuse_hopeless(1)
    for _ in range(HOPELESS):
        policy.refuse_hopeless(1)
        policy.blames_units([], DeathCause.RAISED, "no module of this name")
    with pytest.raises(RaysmoothError, match=r"failed 8 times in a row.*; the first: no module of this name"):
        policy.refuse_hopeless(1)


def test_a_call_may_take_five_times_as_long_as_others_of_its_size() -> None:
    times, small, large = UnitDurations(), attempt(draws=10).unit, attempt(draws=1000).unit
    assert times.expected(small) is None
    assert times.limit([small]) == PATIENCE
    # 64 images of a search of 900 steps: the first of them may take hours where a step takes seconds.
    assert times.limit([attempt(draws=64 * 2700).unit]) == pytest.approx(17.28 * PATIENCE)
    for seconds in (0.1, 0.2, 9.0):  # a median of 0.02 a draw
        times.record(small, seconds)
    assert times.expected(large) == pytest.approx(20.0)
    assert times.limit([large, large]) == pytest.approx(200.0)
    assert times.limit([small]) == SLOW_SECONDS
    assert times.limit([small, attempt(run=1).unit]) == PATIENCE
