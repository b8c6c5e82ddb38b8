"""Runs with a trained rejector: from its weights file to counts, warnings, and `show`'s networks."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from digits_runs import counts_of, run, same
from rejector_weights import rejector_file, rejector_network
from small_runs import certified

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.weight_paths import file_sha256
from raysmooth.actors.models.weights import fingerprint, save_weights
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.runs.noise_mismatch import rejector_notes
from raysmooth.pipeline.runs.stored_run import StoredRun


@pytest.fixture
def networks(tmp_path: Path) -> dict[str, Any]:
    """The settings of a classifier and of a rejector for it."""
    torch.manual_seed(0)
    classifier = digits_cnn().requires_grad_(False)
    save_weights(tmp_path / "c.safetensors", classifier, {})
    parents = {"classifier": {"fingerprint": fingerprint(classifier)}, "denoiser": None}
    card = {"sigma": 0.25, "noise": "gaussian", "parents": parents}
    rejector = rejector_file(tmp_path / "r-0.25.safetensors", rejector_network(classifier, (1, 8, 8)), **card)
    assert rejector.endswith("r-0.25.safetensors")
    weights = {"classifier_weights": str(tmp_path / "c.safetensors")}
    return {
        "classifier": "digits_cnn",
        **weights,
        "rejector": "network",
        "rejector_weights": f"{tmp_path}/r-{{sigma}}.safetensors",
    }


def manifest_in(out: Path) -> dict[str, Any]:
    (file,) = out.glob("runs/*/manifest.json")
    return json.loads(file.read_text())


@pytest.mark.usefixtures("ray_cluster")
def test_one_replica_and_two_give_equal_counts(tmp_path: Path, networks: dict[str, Any]) -> None:
    rows = [run(tmp_path / f"{count}", replicas=count, max=6, n=400, **networks) for count in (1, 2)]
    same(*rows)
    counts = [counts_of(tmp_path / f"{count}") for count in (1, 2)]
    pd.testing.assert_frame_equal(*counts)
    labels = {label for block in counts[0].labels for label in block}
    assert any(label < 10 for label in labels)
    assert any(label >= 10 for label in labels)
    assert (rows[0].rejector == "network:depth=10,threshold=0.5,width=4").all()


def test_the_manifest_says_which_rejector_and_its_file_is_loaded_again(
    tmp_path: Path, networks: dict[str, Any]
) -> None:
    small = {"dataset": "digits", "sigma": 0.25, "max": 2, "n0": 10, "n": 80, "alpha": 0.1}
    name = certified(tmp_path / "out", **small, **networks)
    manifest, file = manifest_in(tmp_path / "out"), tmp_path / "r-0.25.safetensors"
    assert manifest["num_classes"] == 10
    assert manifest["num_labels"] == 20
    assert manifest["identity"]["rejector"] == "network:depth=10,threshold=0.5,width=4"
    assert manifest["weight_files"]["rejector_weights"] == file_sha256(str(file))
    assert manifest["warnings"] == []
    loaded = StoredRun.read(tmp_path / "out", name).load(torch.device("cpu"))
    assert loaded.spec.rejector_fingerprint == manifest["identity"]["rejector_fingerprint"]
    assert loaded.model.rejector is not None

    moved = file.rename(tmp_path / "moved.safetensors")
    run_ = StoredRun.read(tmp_path / "out", name)
    assert run_.load(torch.device("cpu"), rejector_weights=str(moved)).spec.rejector == loaded.spec.rejector
    rejector_file(file, rejector_network(digits_cnn(), (1, 8, 8)))
    with pytest.raises(RaysmoothError, match="is not the file of the rejector weights that run"):
        run_.load(torch.device("cpu"))
    with pytest.raises(RaysmoothError, match=r"the rejector's weights on .* are not those that this run began with"):
        run_.load(torch.device("cpu"), rejector_weights=str(file))

    without = {name: value for name, value in networks.items() if not name.startswith("rejector")}
    certified(tmp_path / "without", **small, **without)
    identity = manifest_in(tmp_path / "without")["identity"]
    assert not {"rejector", "rejector_fingerprint"} & {*identity}
    assert "num_labels" not in manifest_in(tmp_path / "without")


def notes(card: dict[str, Any], denoiser: str | None = None) -> list[str]:
    """What is said of a rejector with this card, of a run with classifier "c"."""
    spec = BaseClassifierSpec(
        "lenet", "c.safetensors", rejector="network", rejector_weights="r.safetensors",
        classifier_fingerprint="c", denoiser_fingerprint=denoiser,
    )  # fmt: skip
    no_model: Any = None
    return rejector_notes(Loaded(no_model, spec, {}, {}, rejector_card=card), Gaussian(0.5))


OURS: dict[str, Any] = {"classifier": {"fingerprint": "c"}, "denoiser": None}


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"noise": "gaussian", "sigma": 0.5, "parents": OURS},
        {"parents": {}},
        {"parents": None},
        {"parents": {**OURS, "init_weights": "x"}},
        {"noise": "gaussian"},
    ],
)
def test_a_rejector_of_this_run_or_of_unknown_origin_is_not_remarked_on(card: dict[str, Any]) -> None:
    assert notes(card) == []


@pytest.mark.parametrize(
    ("card", "denoiser", "expected"),
    [
        ({"noise": "gaussian", "sigma": 0.25}, None, "for gaussian noise of sigma 0.25, this run draws"),
        ({"parents": {"classifier": {"fingerprint": "x"}}}, None, "for another classifier: their decisions"),
        ({"parents": {"classifier": "odd"}}, None, "without a classifier"),
        ({"parents": {**OURS, "denoiser": {"fingerprint": "d"}}}, None, "behind a denoiser"),
        ({"parents": OURS}, "d", "without a denoiser"),
        ({"parents": {**OURS, "denoiser": {"fingerprint": "x"}}}, "d", "for another denoiser"),
    ],
)
def test_a_rejector_that_was_trained_for_something_else_is_warned_of(
    card: dict[str, Any], denoiser: str | None, expected: str
) -> None:
    (line,) = notes(card, denoiser)
    assert line.startswith("rejector weights r.safetensors were trained ")
    assert expected in line


def test_the_warning_is_in_the_manifest(tmp_path: Path, networks: dict[str, Any]) -> None:
    small = {"dataset": "digits", "sigma": 0.5, "max": 1, "n0": 10, "n": 80, "alpha": 0.1}
    certified(tmp_path / "out", **small, **networks | {"rejector_weights": str(tmp_path / "r-0.25.safetensors")})
    (warning,) = manifest_in(tmp_path / "out")["warnings"]
    assert "were trained for gaussian noise of sigma 0.25, this run draws gaussian noise of sigma 0.5" in warning
