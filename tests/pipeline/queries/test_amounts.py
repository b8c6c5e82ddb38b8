"""Numbers of queries and dollars as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.pipeline.queries.amounts import in_dollars, planned, queries


@pytest.mark.parametrize(
    ("number", "price", "shown"),
    [
        (121, 0.005, "$0.61"),  # 0.605, which rounds to 0.60
        (82, 0.0015, "$0.13"),
        (80, 0.0015, "$0.12"),
        (7, 0.01, "$0.07"),  # 7 x 0.01 is more than 0.07 as a float
        (1, 0.0015, "$0.0015"),
        (12_100, 0.0015, "$18.15"),
        (0, 0.0015, "$0.00"),
    ],
)
def test_planned_costs_are_never_rounded_down(number: int, price: float, shown: str) -> None:
    assert in_dollars(planned(number, price)) == shown


@given(st.integers(0, 10**7), st.integers(0, 10**6))
def test_a_planned_cost_is_enough_and_less_than_a_cent_too_much(number: int, millionths: int) -> None:
    exact = number * millionths
    assert exact <= round(planned(number, millionths / 10**6) * 10**6) < exact + 10_000


def test_nouns() -> None:
    assert [queries(number) for number in (0, 1, 12_100)] == ["0 queries", "1 query", "12,100 queries"]
