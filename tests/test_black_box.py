"""The example of a black box of one's own, from its process to certificates."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from api_requests import asked, best
from command import command
from conftest import REPOSITORY
from fake_pictures import digits, png
from scipy.stats import beta, norm
from sklearn.datasets import load_digits

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.failures import ApiFailure
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.queries.noise import noise_of
from raysmooth.results import read_certificates

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


FLAGS = (
    "--dataset digits --sigma 0.25 --n0 10 --n 40 --max 3 --seed 5 --accepted numbers --price-per-1000 2 --replicas 1"
)


def certified(pixels: np.ndarray, scores: Callable[[np.ndarray], np.ndarray]) -> tuple[int, int, float]:
    """The class of an image (1, 8, 8), how many of 40 draws have it, and the radius, worked out here."""

    def label(role: Role, draw: int) -> int:
        noisy = pixels + noise_of(DrawKey(image_digest(pixels), role, draw), 5, Gaussian(0.25), pixels.shape)
        return int(scores(np.rint(noisy.clip(0, 1) * np.float32(255)).astype(np.uint8)).argmax())

    votes = np.bincount([label(Role.SELECTION, draw) for draw in range(10)], minlength=10)
    top = int(votes.argmax())
    count = sum(label(Role.ESTIMATION, draw) == top for draw in range(40))
    p_lower = beta.ppf(0.001, count, 40 - count + 1) if count else 0.0
    return top, count, max(0.0, 0.25 * norm.ppf(p_lower))


def test_it_is_certified_and_paid_once(
    endpoint: str, weights: Path, ray_cluster: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*FLAGS.split(), "--classifier", API, "--endpoint", endpoint, "--out", str(tmp_path / "out")]
    code, _, err = command(capsys, "certify", *flags, "--budget", "0.30")  # exactly 150 queries
    assert code == 0, err
    rows = read_certificates(tmp_path / "out").sort_values("image_id")
    with np.load(weights) as known:
        random, shift, output = known["random"], known["shift"], known["output"]

    def scores(levels: np.ndarray) -> np.ndarray:
        return np.tanh(levels.reshape(64) / 255 @ random + shift) @ output

    images, labels = load_digits(return_X_y=True)  # sixteenths, which float32 has exactly
    for row, image, label in zip(rows.itertuples(), images[-400:], labels[-400:], strict=False):
        top, count, radius = certified((image.reshape(1, 8, 8) / 16).astype(np.float32), scores)
        assert (row.label, row.count_top) == (label, count)
        assert row.prediction == (top if radius else -1)
        assert row.radius == pytest.approx(radius, rel=1e-9)
    assert (rows.radius > 0).any()
    again = command(capsys, "certify", *flags, "--offline", "--alpha", "0.01")
    assert again[0] == 0, again
