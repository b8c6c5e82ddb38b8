"""Whole runs of certify through each vendor's real client, throttled at random, against the same network here."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fake_pictures import trained_digits_cnn
from queries_by_hand import Certificate, certificate

from raysmooth.common.settings import user_settings
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.tune.fake_apis.classify import trained_network
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running

CLASSIFIERS = {
    "google": "google:key_env=GOOGLE_API_KEY",
    "aws": "aws:region=us-east-1,min_confidence=0",  # or it would leave the network's doubtful classes out
    "azure": "azure:key_env=AZURE_VISION_KEY",
    "clarifai": "clarifai",
}
FACTOR = 10
"""8 x 8 pixels become the 80 that Rekognition asks for."""

IMAGES, N0, N, SIGMA, ALPHA = 3, 5, 30, 0.25, 0.001
RATE, CONCURRENCY = 200, 4


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_digits_cnn(tmp_path_factory.mktemp("weights"))


@cache
def expected(weights: Path) -> tuple[list[Certificate], list[str]]:
    """The certificates of the first images, and the network's classes for the images themselves."""
    import torch
    from safetensors.torch import load_file

    from raysmooth.actors.models.networks.digits import digits_cnn

    network = digits_cnn().eval()
    network.load_state_dict(load_file(weights))

    def name(levels: np.ndarray) -> str:
        pixels = torch.from_numpy(levels.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        with torch.inference_mode():
            return str(int(network(pixels).argmax()))

    from sklearn.datasets import load_digits

    images = (load_digits().images[:IMAGES, None] / 16).astype(np.float32)
    certificates = [certificate(image, name, SIGMA, N0, N, ALPHA) for image in images]
    clean = [name(np.round(255 * image).astype(np.uint8).transpose(1, 2, 0)) for image in images]
    return certificates, clean


@pytest.mark.usefixtures("kept_replicas")
@pytest.mark.parametrize("vendor", CLASSIFIERS)
def test_certificates_are_those_of_the_network_behind_the_api(
    vendor: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    behind = trained_network("digits_cnn", str(weights), downscale=FACTOR)
    with running(vendor, Conduct(throttle=0.04, seed=3), behind) as fake:
        for variable, value in fake.address.environment.items():
            monkeypatch.setenv(variable, value)
        settings = {
            "classifier": CLASSIFIERS[vendor], "endpoint": fake.address.endpoint, "upscale": f"nearest:factor={FACTOR}",
            "dataset": "digits", "split": "train", "max": IMAGES, "n0": N0, "n": N, "alpha": ALPHA, "sigma": SIGMA,
            "rate": f"{RATE}/s", "concurrency": CONCURRENCY, "replicas": 1, "out": str(tmp_path),
        }  # fmt: skip
        certify = PROCEDURES["certify"]
        rows = run_procedure(certify, [user_settings(certify.settings, settings)], show_progress=False)
        bill = fake.bill
    certificates, clean = expected(weights)
    assert rows.label_name.tolist() == clean
    assert rows.prediction_name.fillna("").tolist() == [found.prediction or "" for found in certificates]
    assert rows.radius.tolist() == pytest.approx([found.radius for found in certificates], abs=1e-9)
    assert rows.p_lower.tolist() == pytest.approx([found.p_lower for found in certificates], abs=1e-9)
    assert max(found.radius for found in certificates) > 0.05  # or all of this would say little
    # Each draw and each image itself is paid for once, whatever was throttled.
    assert bill["billed"] == IMAGES * (N0 + N + 1)
    assert bill["throttled"] > 0
    # Sent within a second, or before it and still on the way: the replica has no more requests open than that.
    assert bill["most_in_a_second"] <= 1.05 * RATE + 1 + CONCURRENCY
