"""Whole pools in simulated time: who is given up, how many deaths it takes, and what is drawn meanwhile."""

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from simulated_pool import NEVER, Conditions, Outcome, SimulatedPool

from raysmooth.pipeline.pool.death_causes import DeathCause
from raysmooth.pipeline.pool.failures import MAX_LONE_DEATHS


def simulate(units: int, most_seconds: float = NEVER, **conditions: object) -> Outcome:
    with pytest.MonkeyPatch.context() as patched:
        pool = SimulatedPool(patched, Conditions(**conditions))  # type: ignore[arg-type]
        return pool.draw(units, most_seconds)


def all_drawn_but(outcome: Outcome, units: int, culprits: set[int]) -> None:
    assert sorted(outcome.given_up) == sorted(culprits)
    assert sorted(result.request.unit.image_ids[0] for _, result in outcome.results) == list(range(units))


@given(st.integers(0, 199), st.integers(1, 4), st.sampled_from([0.0028, 0.02, 0.2]), st.floats(0, 1))
@examples(100)
def test_a_culprit_in_full_hands_is_found_in_ten_deaths(place: int, replicas: int, unit: float, after: float) -> None:
    """Replicas hold up to 160 units of 2.8 ms."""
    outcome = simulate(200, replicas=replicas, unit=unit, culprits=frozenset({place}), kills_after=after * unit)
    all_drawn_but(outcome, 200, {place})
    assert outcome.deaths <= 10


@given(st.sets(st.integers(0, 199), min_size=2, max_size=6), st.integers(1, 3), st.sampled_from([0.0028, 0.05]))
@examples(50)
def test_several_culprits_are_found(places: set[int], replicas: int, unit: float) -> None:
    outcome = simulate(200, replicas=replicas, unit=unit, culprits=frozenset(places))
    all_drawn_but(outcome, 200, places)
    assert outcome.deaths <= 10 * len(places)


@pytest.mark.parametrize("cause", [DeathCause.UNKNOWN, DeathCause.OUTSIDE])
@pytest.mark.parametrize("unit", [0.02, 0.1])
@pytest.mark.parametrize("replicas", [1, 2, 8])
def test_deaths_at_random_blame_no_unit_and_cost_little(replicas: int, unit: float, cause: DeathCause) -> None:
    """Each replica every eight seconds on average, while a start takes seven: most die while starting."""
    calm = simulate(20_000, 60, replicas=replicas, unit=unit)
    disturbed = simulate(20_000, 240, replicas=replicas, unit=unit, between_deaths=8.0, cause=cause)
    assert disturbed.deaths > 5 * replicas
    assert disturbed.starting > 5 * replicas
    assert disturbed.given_up == []
    assert disturbed.draws_per_second > 0.9 * calm.draws_per_second
    assert (disturbed.suspects > 0) == (cause is DeathCause.UNKNOWN)


def test_a_culprit_is_found_among_random_deaths() -> None:
    """And no other unit with it, though its start is always in danger."""
    for seed in range(5):
        outcome = simulate(300, unit=0.1, between_deaths=10.0, culprits=frozenset({42}), seed=seed)
        all_drawn_but(outcome, 300, {42})


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_culprits_do_not_keep_the_others_waiting(replicas: int) -> None:
    """Each of its deaths costs a start of seven seconds or so, and others are drawn for as long."""
    outcome = simulate(5000, replicas=replicas, unit=0.02, culprits=frozenset({0}))
    found = next(at for at, result in outcome.results if result.drawn is None) - 1000.0
    before = sum(result.drawn is not None for at, result in outcome.results if at - 1000.0 < found)
    assert outcome.deaths >= MAX_LONE_DEATHS
    assert before * 0.02 >= 0.4 * replicas * (found - 9.1)  # after the longest first start
    all_drawn_but(outcome, 5000, {0})


def test_deaths_while_starting_make_no_suspects() -> None:
    """A replica needs seven seconds to start and lives for five."""
    outcome = simulate(2000, 600, unit=0.02, between_deaths=5.0, cause=DeathCause.OUTSIDE)
    assert outcome.starting > 10
    assert outcome.given_up == []
    assert outcome.suspects == 0
    assert len(outcome.results) == 2000
