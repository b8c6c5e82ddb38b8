"""The example of a black box of one's own, from its process to certificates."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from api_requests import asked, best
from conftest import REPOSITORY
from fake_pictures import digits, png

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.failures import ApiFailure

EXAMPLE = REPOSITORY / "examples/black_box"
API = f"http:request={EXAMPLE}/request.yaml"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("black_box") / "weights.npz"


@pytest.fixture(scope="module")
def endpoint(weights: Path) -> Iterator[str]:
    """The example in a process, with the key of the tests' replicas."""
    command = [sys.executable, str(EXAMPLE / "serve.py"), "--port", "0", "--weights", str(weights)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLACK_BOX_KEY", "fake-key")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
                assert found is not None
                yield f"{found[0]}/classify"
            finally:
                process.terminate()


@pytest.mark.processes
def test_it_answers_as_its_weights_say(endpoint: str, weights: Path) -> None:
    images, labels = digits()
    pictures = [Picture(image, png(image), "image/png") for image in images[-40:]]
    answers = asked(API, endpoint, *([picture] for picture in pictures))
    with np.load(weights) as known:
        hidden = np.tanh(images[-40:].reshape(-1, 64) / 255 @ known["random"] + known["shift"])
        expected = (hidden @ known["output"]).argmax(axis=1)
    assert [best(answer) for answer in answers] == [str(label) for label in expected]
    assert np.mean(expected == labels[-40:]) > 0.8
    assert isinstance(answers[0], Answer)
    assert answers[0].version == json.loads(answers[0].raw)["model"]


@pytest.mark.processes
def test_it_wants_its_key(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLACK_BOX_KEY", "another")
    image = digits()[0][0]
    with pytest.raises(ApiFailure, match="HTTP 401"):
        asked(API, endpoint, [Picture(image, png(image), "image/png")])
