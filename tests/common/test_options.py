"""Options of NAME:option=value: typed, checked, and refused in one line that says what to write."""

import pickle
from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.settings import AutoOnOff, Options, Settings, checked, name_in, option_fields, read_options
from raysmooth.common.variant import Variant

COLOURS = Registry("colour", {"red": 1, "blue": 2})


@dataclass(frozen=True)
class Wheel(Options):
    spokes: Annotated[int, Field(ge=2)] = 4
    lambda_: NonNegativeFloat = 1.0
    wear: Annotated[float, Field(gt=0, le=0.5)] = 0.5
    width: Annotated[int | float, Field(gt=0)] | None = None
    colour: Annotated[str, name_in(COLOURS)] = "red"


@dataclass(frozen=True)
class Axle(Options):
    length: Annotated[PositiveFloat, Field(description="in metres")]
    name: str = ""


@dataclass(frozen=True)
class Plain(Options):
    pass


def read(text: str) -> Wheel:
    return read_options(Wheel, Variant.parse(text), "part")


def test_options_are_read_by_the_names_that_users_write() -> None:
    assert read("wheel") == Wheel(4, 1.0, 0.5, None, "red")
    assert read("wheel:spokes=6,lambda=3,colour=blue") == Wheel(spokes=6, lambda_=3.0, colour="blue")
    assert list(option_fields(Wheel)) == ["spokes", "lambda", "wear", "width", "colour"]
    assert option_fields(Plain) == {}


def test_whole_numbers_become_numbers_where_the_field_holds_only_those() -> None:
    wheel = read("wheel:lambda=3,width=3")
    assert (repr(wheel.lambda_), repr(wheel.width)) == ("3.0", "3")


def test_options_are_ordinary_dataclasses() -> None:
    wheel = Wheel(6)
    assert pickle.loads(pickle.dumps(wheel)) == wheel
    assert replace(wheel, lambda_=2) == Wheel(6, 2.0)
    with pytest.raises(RaysmoothError, match="option spokes=1: write a whole number, 2 or more"):
        replace(wheel, spokes=1)


def test_fixed_values_cannot_be_written_as_options() -> None:
    assert read_options(Axle, Variant.parse("axle:length=2"), "part", name="front") == Axle(2.0, "front")
    with pytest.raises(RaysmoothError, match="has no option 'name'"):
        read_options(Axle, Variant.parse("axle:length=2,name=rear"), "part", name="front")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wheel:spoke=3", "part 'wheel' has no option 'spoke': did you mean 'spokes'?"),
        ("wheel:lambda_=3", "part 'wheel' has no option 'lambda_': did you mean 'lambda'?"),
        ("wheel:spokes=1", "part 'wheel:spokes=1': option spokes=1: write a whole number, 2 or more"),
        ("wheel:spokes=2.5", "option spokes=2.5: write a whole number, 2 or more"),
        ("wheel:spokes=true", "option spokes=True: write a whole number, 2 or more"),
        ("wheel:lambda=-1", "option lambda=-1: write a number, 0 or more"),
        ("wheel:lambda=much", "option lambda=much: write a number, 0 or more"),
        ("wheel:lambda=true", "option lambda=True: write a number"),
        ("wheel:lambda=1e999", "option lambda=inf: write a number"),
        ("wheel:lambda=1" + 400 * "0", "write a number, 0 or more"),
        ("wheel:wear=0", "option wear=0: write a number above 0, at most 0.5"),
        ("wheel:wear=0.6", "option wear=0.6: write a number above 0, at most 0.5"),
        ("wheel:width=wide", "option width=wide: write a number above 0"),
        ("wheel:colour=bleu", "part 'wheel:colour=bleu': unknown colour 'bleu': did you mean 'blue'?"),
        ("wheel:colour=3", "unknown colour '3'"),
    ],
)
def test_refusals_are_one_line_and_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        read(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_option_and_a_variant_without_options() -> None:
    with pytest.raises(RaysmoothError, match=r"'axle': option length is missing: write a number above 0 \(in metres\)"):
        read_options(Axle, Variant.parse("axle"), "part")
    with pytest.raises(RaysmoothError, match="part 'plain' has no option 'a': it takes none, write plain"):
        read_options(Plain, Variant.parse("plain:a=1"), "part")


def test_positional_values_are_refused_by_name_too() -> None:
    with pytest.raises(RaysmoothError, match=r"option lambda=-2: write a number, 0 or more"):
        Wheel(4, -2)


class Machine(Settings):
    power: AutoOnOff = "auto"


@pytest.mark.parametrize(
    ("written", "read"), [("on", "on"), (True, "on"), ("off", "off"), (False, "off"), ("auto", "auto")]
)
def test_on_and_off_survive_yaml(written: str | bool, read: str) -> None:
    assert checked(Machine, {"power": written}).power == read


@pytest.mark.parametrize("written", ["x", 1, None, ["on"]])
def test_what_is_not_auto_on_or_off_is_refused(written: object) -> None:
    with pytest.raises(RaysmoothError) as refused:
        checked(Machine, {"power": written})
    assert str(refused.value) == f"--power {written}: write auto, on or off"


@pytest.mark.parametrize("text", ["", "wheel:", "wheel:spokes=3,spokes=4"])
def test_text_that_is_not_an_entry_shows_an_example(text: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        Variant.parse_entry(text, "part", "wheel:spokes=6")
    assert str(refused.value) == (
        f"'{text}' is not a valid part: write NAME or NAME:option=value,option=value, each option once, such as "
        "wheel:spokes=6"
    )
