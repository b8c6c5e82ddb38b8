"""Settings of vision APIs: what they refuse, and that they are refused where no API is asked."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis import apis
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, Settings, checked
from raysmooth.pipeline.queries.query_settings import QuerySettings, read_rate


@dataclass(frozen=True)
class SomeOptions(Options):
    model: str = "small"


def unused(*_: Any) -> Any:
    raise AssertionError("settings ask nothing")


class SomeSettings(QuerySettings, Settings):
    """Some"""

    classifier: str


@pytest.fixture(autouse=True)
def _one_api(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ApiEntry("an API", SomeOptions, unused, unused, unused)
    monkeypatch.setattr(apis, "VISION_APIS", Registry("vision API", {"some": entry}))


def test_an_api_takes_them_all() -> None:
    settings = checked(
        SomeSettings,
        {"classifier": "some:model=large", "endpoint": "http://localhost:1", "label_rule": "leaf", "budget": 20,
         "price_per_1000": "3/2", "rate": "1800/min", "upscale": "nearest:factor=4", "max_queries": 7,
         "encoding": "jpeg:quality=95,subsampling=0", "offline": True, "concurrency": 3, "accepted": "names"},
    )  # fmt: skip
    assert (settings.budget, settings.price_per_1000, settings.pictures_per_second) == (20, 1.5, 30)
    assert checked(SomeSettings, {"classifier": "some"}).pictures_per_second is None


@pytest.mark.parametrize("name", QuerySettings.model_fields)
def test_each_is_refused_by_name_without_an_api(name: str) -> None:
    given: dict[str, Any] = {
        "timeout": 3, "patience": 3, "budget": 3, "max_queries": 3, "price_per_1000": 3, "concurrency": 3,
        "offline": True, "rate": "3/s", "encoding": "jpeg", "upscale": "nearest:factor=2", "label_rule": "leaf",
        "endpoint": "http://x", "accepted": "names",
    }  # fmt: skip
    with pytest.raises(RaysmoothError, match=f"--{name.replace('_', '-')} is for vision APIs.*lenet"):
        checked(SomeSettings, {"classifier": "lenet", name: given[name]})
    default = QuerySettings.model_fields[name].default
    assert checked(SomeSettings, {"classifier": "lenet", name: default}).classifier == "lenet"


def test_a_slip_in_the_name_of_an_api_is_seen() -> None:
    with pytest.raises(RaysmoothError, match=r"--accepted is for vision APIs.*htp:request=x.* did you mean 'http'\?"):
        checked(SomeSettings, {"classifier": "htp:request=x", "accepted": "names"})


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("rate", "fast", "--rate fast: write pictures a second, minute or hour"),
        ("rate", "0/s", "--rate 0/s"),
        ("rate", "-1/s", "--rate -1/s"),
        ("rate", "1e/s", "--rate 1e/s"),
        ("rate", "10", "--rate 10"),
        ("rate", "10/day", "--rate 10/day"),
        ("rate", "1e400/s", "--rate 1e400/s"),
        ("budget", 0, "--budget 0"),
        ("max_queries", 0, "--max-queries 0"),
        ("price_per_1000", -1, "--price-per-1000 -1"),
        ("concurrency", 0, "--concurrency 0"),
        ("timeout", 0, "--timeout 0"),
        ("label_rule", "best", "unknown label rule 'best'"),
        ("label_rule", "among:/no/such/file", "--label-rule among:/no/such/file: there is no file"),
        ("encoding", "gif,", "encoding"),
        ("upscale", "a=", "upscale"),
    ],
)
def test_odd_values_are_refused_in_one_line(name: str, value: Any, problem: str) -> None:
    with pytest.raises(RaysmoothError, match=problem) as refusal:
        checked(SomeSettings, {"classifier": "some", name: value})
    assert "\n" not in str(refusal.value)


def test_a_budget_that_nothing_uses_up_is_refused() -> None:
    with pytest.raises(RaysmoothError, match="--budget with --price-per-1000 0"):
        checked(SomeSettings, {"classifier": "some", "budget": 1, "price_per_1000": 0})


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", 10), (" 1800 / min ", 30), ("20/h", 20 / 3600), ("0.5/s", 0.5), ("1e3/s", 1000)]
)
def test_rates_are_per_second(text: str, rate: float) -> None:
    assert read_rate(text) == pytest.approx(rate)


def test_those_of_the_command_are_settings() -> None:
    known: Callable[[str], bool] = QuerySettings.model_fields.__contains__
    assert all(map(known, QuerySettings.OF_THE_COMMAND))
