"""Settings from keywords and YAML files, and the one line that refuses them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field, ValidationError

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import CommaList, Settings, checked
from raysmooth.common.settings_file import read_yaml


class Radii(Settings):
    radii: Annotated[list[float], CommaList] = Field([0.5])
    names: Annotated[list[str], CommaList] = Field([])
    number_of_draws: int = Field(description="Draws of each image.", gt=0)


@pytest.mark.parametrize(
    ("value", "radii"),
    [
        ("0.12,0.25", [0.12, 0.25]),
        (" 0.12 , 0.25 ", [0.12, 0.25]),
        (0.25, [0.25]),
        (1, [1.0]),
        ([0.12, "0.25"], [0.12, 0.25]),
        ("", []),
    ],
)
def test_a_list_may_be_text_with_commas_or_one_number(value: object, radii: list[float]) -> None:
    assert checked(Radii, {"radii": value, "number_of_draws": 1}).radii == radii


def test_a_list_of_names() -> None:
    assert checked(Radii, {"names": "a, b c ,d", "number_of_draws": 1}).names == ["a", "b c", "d"]


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"number_of_draw": 1}, "unknown setting 'number_of_draw': did you mean 'number_of_draws'? "),
        ({"number_of_draws": 0}, "--number-of-draws 0: input should be greater than 0"),
        ({"number_of_draws": True}, "--number-of-draws true: write a number (YAML reads yes as true)"),
        ({"radii": [0.5, False], "number_of_draws": 1}, "--radii [0.5, false]: write a number"),
        ({}, "--number-of-draws is missing: Draws of each image"),
        ({"radii": "a,b"}, "--radii a: "),  # before the missing one
        ({"radii": float("nan"), "number_of_draws": 1}, "--radii nan: input should be a finite number"),
    ],
)
def test_a_refusal_names_the_flag_in_one_line(values: dict[str, object], refusal: str) -> None:
    with pytest.raises(RaysmoothError) as raised:
        checked(Radii, values)
    assert str(raised.value).startswith(refusal)
    assert "\n" not in str(raised.value)


class Network:
    shape = (3, 4)

    def __repr__(self) -> str:
        return "Network(\n)" * 1000


class Models(Settings):
    classifier: str = "lenet"
    surrogates: Annotated[list[str], CommaList] = Field([])
    dataset: str = "mnist"
    number: int = 1


OWN = "replicas are other processes, which import it by its name: "


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        (
            {"classifier": Network()},
            f"--classifier is an object of type {__name__}.Network of shape (3, 4): {OWN}put a function that returns "
            "it into a file my_models.py and write classifier='my_models:make'",
        ),
        ({"classifier": Network}, f"--classifier is the class {__name__}.Network: {OWN}write classifier='{__name__}:N"),
        ({"classifier": lambda: None}, f"--classifier is the function {__name__}.<lambda>: {OWN}put a function that"),
        ({"classifier": len}, f"--classifier is the function builtins.len: {OWN}put a function that"),
        ({"classifier": [Network()]}, f"--classifier is an object of type list: {OWN}put a function"),
        (
            {"surrogates": [Network()]},
            f"--surrogates is an object of type {__name__}.Network of shape (3, 4): {OWN}put a function that returns "
            "it into a file my_models.py and write surrogates='my_models:make@weights.safetensors'",
        ),
        (
            {"dataset": np.zeros((2, 3))},
            "--dataset is an object of type numpy.ndarray of shape (2, 3): write a text, a number or a list of them",
        ),
        ({"dataset": {"images": Network()}}, "--dataset is an object of type dict: write a text, a number"),
        ({"number": Network()}, f"--number is an object of type {__name__}.Network of shape (3, 4): write a text"),
        ({"number": "x" * 500 + "\x1b"}, f"--number {'x' * 197}...: input should be a valid integer"),
        ({"number": None}, "--number None: input should be a valid integer"),
    ],
)
def test_objects_given_by_mistake_are_named_and_not_printed(values: dict[str, object], refusal: str) -> None:
    with pytest.raises(RaysmoothError) as raised:
        checked(Models, values)
    assert str(raised.value).startswith(refusal)
    assert "\n" not in str(raised.value)
    assert "Network(" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (lambda: raysmooth.certify(Network()), "config is an object of type"),  # type: ignore[arg-type]
        (lambda: raysmooth.run(Network()), "an object of type"),  # type: ignore[arg-type]
        (lambda: raysmooth.read_certificates(Network()), "an object of type"),  # type: ignore[arg-type]
        (lambda: raysmooth.import_logs([Network()], dataset="a", classifier="b"), "an object of type"),  # type: ignore[list-item]
        (lambda: raysmooth.import_logs(np.array([]), dataset="a", classifier="b"), "no log to import"),  # type: ignore[arg-type]
    ],
)
def test_objects_given_to_functions_are_named_too(call: Callable[[], object], refusal: str) -> None:
    with pytest.raises(RaysmoothError) as raised:
        call()
    assert str(raised.value).startswith(refusal)
    assert "\n" not in str(raised.value)


def test_values_override_the_file_and_a_refusal_names_what_was_written(tmp_path: Path) -> None:
    config = tmp_path / "radii.yaml"
    config.write_text("number-of-draws: 5\nradii: [1, 2]\n")
    found = checked(Radii, {"radii": "3"}, config)
    assert (found.number_of_draws, found.radii) == (5, [3.0])
    with pytest.raises(RaysmoothError, match=r"^--number-of-draws -1: "):
        checked(Radii, {"number_of_draws": -1}, config)
    config.write_text("number-of-draws: -1\nradii: [1, 2]\n")
    with pytest.raises(RaysmoothError, match=rf"^{config}: number_of_draws -1: "):
        checked(Radii, {}, config)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        checked(Radii, {"number_of_draws": 1}).number_of_draws = 2


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1", " is not YAML: "),
        (b"\xff\xfe\xff", " is not YAML: "),
        (b"- 1\n", ": expected 'setting: value' lines, found a list"),
        (None, ": there is no such file: write"),
    ],
)
def test_a_file_without_settings_is_refused_by_its_name(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RaysmoothError) as refusal:
        read_yaml(file)
    assert str(refusal.value).startswith(f"{file}{reason}")
    assert "\n" not in str(refusal.value)
