"""Black boxes through their protocols, from noise to certificates: those of the same network computed here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked_runs import REQUEST
from conftest import FAKE_KEYS
from fake_pictures import trained_digits_cnn
from scipy.stats import beta, norm
from sklearn.datasets import load_digits

import raysmooth
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.queries.noise import noise_of
from raysmooth.tune.fake_apis.classify import PixelClassifier, trained_network
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running

N0, N, ALPHA, SIGMA, IMAGES = 10, 30, 0.05, 0.25, 2

CLASSIFIERS = {
    "openai": "openai:model=m,labels=labels.txt",
    "oip": "oip:model=fake,classes=10,batch=4,binary=true,key_env=FAKE_API_KEY",
    "http": "http:request=request.yaml",
}
"""The fake APIs, and what asks them."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(trained_digits_cnn(tmp_path_factory.mktemp("weights")))


def by_hand(network: PixelClassifier, pixels: np.ndarray, rounded: bool) -> tuple[int, int, float]:
    """The class of an image (1, 8, 8), how many of N draws have it, and its radius, 0 if it abstains."""

    def label(role: Role, draw: int) -> int:
        noisy = pixels + noise_of(DrawKey(image_digest(pixels), role, draw), 0, Gaussian(SIGMA), pixels.shape)
        clipped = noisy.clip(0, 1)
        seen = np.rint(clipped * np.float32(255)).astype(np.uint8) / np.float32(255) if rounded else clipped
        return int(network.logits(seen[None].astype(np.float32)).argmax())

    votes = np.bincount([label(Role.SELECTION, draw) for draw in range(N0)], minlength=10)
    top = int(votes.argmax())
    count = sum(label(Role.ESTIMATION, draw) == top for draw in range(N))
    p_lower = beta.ppf(ALPHA, count, N - count + 1) if count else 0.0
    return top, count, max(0.0, SIGMA * norm.ppf(p_lower))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A classifier with the files that it names in `tmp_path`."""
    import yaml

    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in range(10)))
    (tmp_path / "request.yaml").write_text(yaml.safe_dump(REQUEST))
    for variable in FAKE_KEYS:
        monkeypatch.setenv(variable, "fake-key")
    return lambda text: text.replace("=labels.txt", f"={tmp_path}/labels.txt").replace("=req", f"={tmp_path}/req")


@pytest.mark.usefixtures("kept_replicas")
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_certificates_are_those_of_the_network(
    name: str, weights: str, tmp_path: Path, files: Callable[[str], str]
) -> None:
    factor = 1 if name == "oip" else 3
    network = trained_network("digits_cnn", weights, downscale=factor)
    settings: dict[str, Any] = {"upscale": f"nearest:factor={factor}" if factor > 1 else "none", "accepted": "numbers"}
    with running(name, Conduct(throttle=0.05, seed=3), network) as fake:
        rows = raysmooth.certify(
            dataset="digits", classifier=files(CLASSIFIERS[name]), endpoint=fake.address.endpoint, sigma=SIGMA, n0=N0,
            n=N, alpha=ALPHA, max=IMAGES, out=tmp_path / "results", rate="1000/s", price_per_1000=1, progress=False,
            **settings,
        )  # fmt: skip
        assert fake.bill["billed"] == fake.bill["distinct"] == IMAGES * (N0 + N)
    images, labels = load_digits(return_X_y=True)  # sixteenths, which float32 has exactly
    for row, image, label in zip(rows.itertuples(), images[-400:], labels[-400:], strict=False):
        pixels = (image.reshape(1, 8, 8) / 16).astype(np.float32)
        top, count, radius = by_hand(network, pixels, rounded=name != "oip")
        assert (row.label, row.count_top) == (label, count)
        assert row.prediction == (top if radius else -1)
        assert row.radius == pytest.approx(radius, rel=1e-9)
    assert (rows.radius > 0).any()
