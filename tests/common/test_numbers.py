"""Numbers and fractions as users write them."""

from fractions import Fraction
from typing import Annotated

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import fraction, number, numbers, with_fractions
from raysmooth.common.settings import CommaList, Settings, checked
from raysmooth.common.variant import Variant


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.25", 0.25), ("1/4", 0.25), (" 64 / 255 ", 64 / 255), ("63.75/255", 0.25), ("-1/8", -0.125), ("1e-3", 0.001),
     (".5/2", 0.25), ("5./2", 2.5)],
)  # fmt: skip
def test_a_number(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "a", "1/0", "1/", "/2", "1/2/3", "1/-2", "1e3/2", "0x1/2", "1/2 3", "9" * 2000])
def test_what_is_no_number(text: str) -> None:
    assert fraction(text) is None
    with pytest.raises(ValueError, match=r"could not convert|too long"):
        number(text)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
@examples(300)
def test_a_fraction_is_the_nearest_float(above: int, below: int) -> None:
    found = Fraction(number(f"{above}/{below}"))
    exact = Fraction(above, below)
    assert found == Fraction(above / below)  # Python's own division of whole numbers is rounded correctly
    assert abs(found - exact) <= exact / 2**53


def test_fractions_in_lists_and_mappings() -> None:
    assert with_fractions("1/4, 0.5,1/8") == [0.25, " 0.5", 0.125]
    assert with_fractions("1/4,,1/8") == "1/4,,1/8"
    assert with_fractions({"a": ["1/4", "x"], "b": 1}) == {"a": [0.25, "x"], "b": 1}
    assert with_fractions("runs/1/4") == "runs/1/4"


class Levels(Settings):
    levels: Annotated[list[float], CommaList] = Field([])
    one: float | None = None
    whole: int = 1
    paths: Annotated[list[str], CommaList] = Field([])
    either: float | str | None = None


@pytest.mark.parametrize("written", ["1/4,0.5", ["1/4", "0.5"], [0.25, "1/2"], "0.25,1/2"])
def test_settings_take_fractions_where_they_take_numbers(written: object) -> None:
    assert checked(Levels, {"levels": written}).levels == [0.25, 0.5]
    assert checked(Levels, {"levels": "1/4"}).levels == [0.25]
    assert checked(Levels, {"one": "64/255"}).one == 64 / 255
    assert checked(Levels, {"paths": "1/4,a/b", "either": "1/4"}).model_dump() == {
        "levels": [], "one": None, "whole": 1, "paths": ["1/4", "a/b"], "either": "1/4",
    }  # fmt: skip


@pytest.mark.parametrize("values", [{"one": "x/1"}, {"whole": "1/2"}, {"levels": "1/4,x"}])
def test_settings_refuse_what_is_no_number(values: dict[str, object]) -> None:
    with pytest.raises(RaysmoothError, match=r"^--(one|whole|levels) .*valid (number|integer)"):
        checked(Levels, values)


def test_options_take_fractions_and_print_numbers() -> None:
    assert Variant.parse("a:x=1/4,y=a/b,z=1/0") == Variant("a", (("x", 0.25), ("y", "a/b"), ("z", "1/0")))
    assert Variant.parse("a:x=1/4") == Variant.parse("a:x=0.25")
    assert Variant.parse(str(Variant.parse("a:x=64/255"))) == Variant.parse("a:x=64/255")


@pytest.mark.parametrize("written", ["0.25,,0.5", "0.25,", ",1/4", "1/4, ,1/2", "0.25, 0.5, "])
def test_a_number_missing_between_commas_is_refused(written: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        checked(Levels, {"levels": written})
    assert str(refusal.value) == f"--levels {written}: nothing stands before or after a comma: leave that comma out"
    with pytest.raises(ValueError, match="could not convert"):
        numbers(written)


def test_numbers_between_commas() -> None:
    assert numbers("0, 1/4,1e-1") == [0, 0.25, 0.1]
