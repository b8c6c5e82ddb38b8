from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.pipeline.report.rounding import floored, percent

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite | st.floats(0, 10), st.integers(0, 6))
def test_floored_is_never_above_and_less_than_one_unit_below(x, digits):
    printed = Fraction(Decimal(floored(x, digits)))
    assert printed <= Fraction(x) < printed + Fraction(1, 10**digits)


@given(st.floats(0, 100), st.integers(0, 6))
def test_floored_prints_just_the_digits_asked_for(x, digits):
    whole, _, decimals = floored(x, digits).partition(".")
    assert whole.isdigit()
    assert len(decimals) == digits


@pytest.mark.parametrize(
    ("x", "digits", "printed"),
    [
        (0.9999, 3, "0.999"),
        (0.25, 2, "0.25"),
        (0.1 + 0.2, 1, "0.3"),
        (0.3, 1, "0.2"),  # the float 0.3 is a little below 3/10
        (-0.25, 1, "-0.3"),
        (7.0, 0, "7"),
        (0.0, 3, "0.000"),
        (1e22, 1, "10000000000000000000000.0"),
    ],
)
def test_floored_by_hand(x, digits, printed):
    assert floored(x, digits) == printed


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_percent_is_the_floor_of_the_exact_share(share):
    count, of = share
    printed = Fraction(Decimal(percent(count / of, of)))
    assert printed <= Fraction(100 * count, of) < printed + Fraction(1, 10)


def test_percent_of_what_is_better_small_is_rounded_up():
    assert [percent(k / 3, 3, up=True) for k in (0, 1, 2, 3)] == ["0.0", "33.4", "66.7", "100.0"]


def test_percent_does_not_lose_a_tenth_to_binary_fractions():
    assert [percent(k / 100, 100) for k in (7, 29, 57)] == ["7.0", "29.0", "57.0"]
    assert percent(2 / 3, 3) == "66.6"
