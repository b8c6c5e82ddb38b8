"""What goes with a vision API, and what is refused before anything is opened."""

from pathlib import Path
from typing import Any

import pytest
from scripted_api import ScriptedApi, entry

from raysmooth.actors.apis import apis
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings
from raysmooth.pipeline.runs.settings import CertifySettings

BASE: dict[str, Any] = {"dataset": "digits", "classifier": "scripted", "sigma": 0.25, "n": 100, "n0": 20}


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(apis.VISION_APIS._entries, "scripted", entry(ScriptedApi))


@pytest.mark.parametrize("procedure", ["certify", "predict"])
def test_a_run_of_an_api_has_no_rejector_and_draws_without_an_answer(procedure: str) -> None:
    given = {name: value for name, value in BASE.items() if procedure == "certify" or name != "n0"}
    settings = checked(PROCEDURES[procedure].settings, given)
    assert settings.rejector == "unanswered"
    again = checked(PROCEDURES[procedure].settings, settings.model_dump())  # as a manifest has them
    assert again.model_dump() == settings.model_dump()


REFUSED = [
    ({"rejector": "margin:threshold=0.1"}, "--rejector margin:threshold=0.1: an API answers labels"),
    ({"classifier_weights": "w.safetensors"}, "--classifier-weights with --classifier scripted: an API has its own"),
    ({"preprocess": "none"}, "--preprocess with --classifier scripted: an API is sent pictures"),
    ({"sigmas": "0123456789abcdef"}, "--sigmas with --classifier scripted: levels are found with gradients"),
    ({"search": "grid"}, "--search with --classifier scripted: levels are found with gradients"),
    ({"batch_size": 8}, "--batch-size with --classifier scripted: --concurrency says"),
    ({"precision": "bfloat16"}, "--precision bfloat16: what stands before an API is computed in float32"),
    ({"compile": "on"}, "--compile on: what stands before an API is not compiled"),
    ({"encoding": "gif"}, "unknown encoding 'gif'"),
    ({"encoding": "png:level=12"}, "level"),
    ({"upscale": "nearest"}, "factor"),
    ({"endpoint": "http://me:secret@there:80"}, "--endpoint has a user or password in it"),
    ({"classifier": "digits_cnn", "rejector": "unanswered"}, "unknown rejector 'unanswered'"),
]


@pytest.mark.parametrize(
    ("changes", "message"), REFUSED, ids=lambda value: "" if isinstance(value, str) else str(value)
)
def test_what_does_not_go_with_an_api_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        checked(CertifySettings, {**BASE, **changes})
    text = str(refused.value)
    assert message in text
    assert "\n" not in text
    assert "secret" not in text


def test_searches_and_trainings_name_networks(tmp_path: Path) -> None:
    values = {name: value for name, value in BASE.items() if name not in ("n", "n0")}
    with pytest.raises(RaysmoothError, match="a vision API has neither weights nor gradients here: name a network"):
        checked(OptimizeSigmaSettings, values)
