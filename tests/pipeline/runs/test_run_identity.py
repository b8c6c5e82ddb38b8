"""A run's identity: its keys and values decide the run id, and so must not change unnoticed."""

import dataclasses
from typing import Any

import pytest

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs import base_run
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.manifest import run_id

REPLICA = ReplicaIdentity("cpu of some kind", "2.15", "2.4", "node", 1)
FIXED = {
    "alpha": 0.001,
    "batch_size": 100,
    "block_size": 1000,
    "classifier": "base_classifiers:Linear",
    "compiled": False,
    "dataset": "digits",
    "denoiser": "none",
    "denoiser_fingerprint": None,
    "device": "cpu of some kind",
    "images": 23,
    "index_set": "every image of 400, 0 to 22 (23 images)",
    "n": 500,
    "n0": 40,
    "noise": "gaussian",
    "norm": "l2",
    "numpy": "2.4",
    "pillow": "version of pillow",
    "precision": "float32",
    "preprocess": "none",
    "procedure": "certify",
    "sampling": "fixed",
    "scheme": 5,
    "seed": 0,
    "sigma": 0.25,
    "source": None,
    "split": "test",
    "threads": 1,
    "torch": "2.15",
    "torchvision": "version of torchvision",
}
"""As earlier releases wrote it; the two fingerprints besides."""


@pytest.fixture(autouse=True)
def _versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_run, "package_version", lambda package: f"version of {package}")


def planned(**changes: Any) -> Run:
    values = {
        "dataset": "digits",
        "classifier": "base_classifiers:Linear",
        "sigma": 0.25,
        "max": 23,
        "n": 500,
        "n0": 40,
    }
    (run,) = prepare(PROCEDURES["certify"], user_settings(PROCEDURES["certify"].settings, values | changes))
    return dataclasses.replace(run, compute=ComputeConfig("float32", False, 100))


def test_the_identity_is_that_of_earlier_releases() -> None:
    identity = planned().identity(REPLICA)
    data, classifier = identity.pop("data_fingerprint"), identity.pop("classifier_fingerprint")
    assert len(data) == 64
    assert classifier
    assert identity == FIXED
    assert run_id(identity) == "0647f669e3ae960c"


def test_another_first_image_is_another_run() -> None:
    own = planned(start=0).identity(REPLICA)
    assert {name: own[name] for name in FIXED} == FIXED
    other = planned(start=5)
    assert list(other.index_set) == list(range(5, 28))
    assert other.identity(REPLICA)["index_set"] == "every image of 400, 5 to 27 (23 images)"
    assert other.data_fingerprint != own["data_fingerprint"]


def test_rules_that_stop_early_depend_on_scipy_too() -> None:
    identity = planned(sampling="adaptive").identity(REPLICA)
    assert identity["scipy"] == "version of scipy"
    assert identity["sampling"] == "adaptive:tolerance=2%,pilot=5"


def test_a_run_without_a_compute_configuration_has_no_identity() -> None:
    with pytest.raises(AssertionError, match="has not been chosen yet"):
        dataclasses.replace(planned(), compute=None).identity(REPLICA)
