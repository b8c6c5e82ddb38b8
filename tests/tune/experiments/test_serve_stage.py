"""A stage that serves a classifier for the stages that ask it."""

import os
import socket
import urllib.request
from pathlib import Path

import pytest
from fake_pictures import digits, png, trained_digits_cnn
from test_experiment import CERTIFY, plan_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.experiments.serve_stage import checked_serving, served


def answer(endpoint: str, picture: bytes) -> str:
    request = urllib.request.Request(endpoint, picture, {"X-Api-Key": os.environ["FAKE_API_KEY"]})
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())


def test_it_answers_on_the_port_that_it_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = trained_digits_cnn(tmp_path)
    out = tmp_path / "served" / "api.json"
    values = {"api": "http", "classifier": "digits_cnn", "classifier_weights": str(weights), "out": str(out)}
    settings = checked_serving(values)
    before = os.environ.get("FAKE_API_KEY")
    images, _ = digits()
    with served(settings) as endpoint:
        assert endpoint.startswith("http://127.0.0.1:")
        assert '"0"' in answer(endpoint, png(images[0]))
    assert os.environ.get("FAKE_API_KEY") == before
    with served(settings) as again:
        assert again == endpoint
    with socket.create_server(("127.0.0.1", int(endpoint.split(":")[2].partition("/")[0]))), served(settings) as other:
        assert other != endpoint
    assert "is taken: http is served on another" in capsys.readouterr().err
    out.write_text("rubbish")
    with served(settings) as new:
        assert new.startswith("http://127.0.0.1:")


def test_its_result_does_not_depend_on_the_port(tmp_path: Path) -> None:
    weights = trained_digits_cnn(tmp_path)
    common = {"classifier": "digits_cnn", "classifier_weights": str(weights)}
    one, same = (checked_serving({"api": "http", **common, "out": out}) for out in ("a.json", "b.json"))
    others = [{"api": "http"}, {"api": "http:throttle=0.5", **common}, {"api": "http", **common, "downscale": 2}]
    assert one.digest == same.digest
    assert len({one.digest, *(checked_serving(values).digest for values in others)}) == 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"api": "htp"}, "unknown fake API 'htp': did you mean 'http'"),
        ({"api": "http:throtle=1"}, "throtle"),
        ({"api": "http", "classifier": "digits_cnn"}, "write both classifier and classifier_weights, or neither"),
    ],
)
def test_refusals(values: dict[str, str], words: str) -> None:
    with pytest.raises(RaysmoothError, match=words):
        checked_serving(values)


def test_an_endpoint_is_that_of_a_stage_that_serves(tmp_path: Path) -> None:
    serving = {"api": {"serve": {"api": "http"}}}
    with pytest.raises(
        RaysmoothError, match="stage asking refers to @classifier: a train classifier makes no endpoint"
    ):
        plan_of(tmp_path, {"asking": {"certify": {**CERTIFY, "endpoint": "@classifier"}}})
    with pytest.raises(RaysmoothError, match="a serve makes no weights"):
        plan_of(tmp_path, {**serving, "asking": {"certify": {**CERTIFY, "denoiser": "@api"}}})
    plan = plan_of(tmp_path, {**serving, "asking": {"certify": {**CERTIFY, "endpoint": "@api"}}})
    assert plan.named("asking")[0].needs == ["classifier", "api"]
