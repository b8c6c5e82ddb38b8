"""Numbers of queries and dollars as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.pipeline.queries.amounts import in_dollars, queries


@pytest.mark.parametrize(
    ("cost", "shown", "left"),
    [
        (121 * 0.005, "$0.61", "$0.60"),  # 0.605
        (82 * 0.0015, "$0.13", "$0.12"),
        (7 * 0.01, "$0.07", "$0.07"),  # more than 0.07 as a float
        (0.0015, "$0.0015", "$0.0015"),
        (12_100 * 0.0015, "$18.15", "$18.15"),
        (1_234_567.891, "$1,234,567.90", "$1,234,567.89"),
        (0.0, "$0.00", "$0.00"),
    ],
)
def test_costs_are_rounded_up_and_what_is_left_down(cost: float, shown: str, left: str) -> None:
    assert (in_dollars(cost), in_dollars(cost, is_left=True)) == (shown, left)


@given(st.integers(10_000, 10**12))
def test_a_cost_is_within_a_cent(millionths: int) -> None:
    up, down = (
        round(float(in_dollars(millionths / 10**6, is_left)[1:].replace(",", "")) * 100) * 10_000
        for is_left in (False, True)
    )
    assert up - 10_000 < millionths <= up
    assert down <= millionths < down + 10_000


def test_nouns() -> None:
    assert [queries(number) for number in (0, 1, 12_100)] == ["0 queries", "1 query", "12,100 queries"]
