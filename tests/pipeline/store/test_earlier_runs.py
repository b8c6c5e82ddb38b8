"""A command whose data or networks have changed since it was last run says so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import opened

from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.earlier_runs import changed_since


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """Settings of a run of two grey images and weights, with results in out/."""
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        picture(tmp_path, number, 50 * number)
    weights(tmp_path, seed=0)
    return {
        "dataset": "folder", "data_root": str(tmp_path / "pictures"), "sigma": [0.25], "out": str(tmp_path / "out"),
        "classifier": "base_classifiers:Linear:pixels=192",
    }  # fmt: skip


def picture(home: Path, number: int, value: int) -> None:
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(home / f"pictures/{number}.png")


def weights(home: Path, seed: int) -> None:
    torch.manual_seed(seed)
    save_weights(home / "w.safetensors", digits_cnn(), {"architecture": "digits_cnn"})


def begun(values: dict[str, Any]) -> str:
    with opened(Path(values["out"]), **{name: value for name, value in values.items() if name != "out"}) as (ledger, _):
        return ledger.run_id


def said(values: dict[str, Any], **changes: Any) -> str | None:
    procedure = PROCEDURES["certify"]
    run = prepare(procedure, user_settings(procedure.settings, values | changes))[-1]
    return changed_since(values["out"], run.known_identity, run.settings)


def test_changed_data_are_named_with_the_last_run_of_the_same_settings(tmp_path: Path, values: dict[str, Any]) -> None:
    assert said(values) is None
    run_id = begun(values)
    assert said(values) is None
    picture(tmp_path, 1, 7)
    assert said(values).startswith(f"the data changed since run {run_id} (of 20")
    assert said(values).endswith("), which has the same settings: a new run")
    assert said(values, seed=1) is said(values, start=1) is said(values, sigma=[0.5]) is None
    assert said(values, replicas=2, sigma=[0.5, 0.25]).startswith("the data changed")
    picture(tmp_path, 2, 100)  # the index set is another one, too
    assert said(values).startswith("the data changed")
    again = begun(values)
    assert said(values) is None
    picture(tmp_path, 2, 101)
    manifest = tmp_path / "out/runs" / again / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"started": "2099-01-01T00:00:00+00:00"}))
    assert f"since run {again} (of 2099-01-01)" in said(values)


def test_manifests_of_earlier_versions_and_damaged_ones(tmp_path: Path, values: dict[str, Any]) -> None:
    manifest = tmp_path / "out/runs" / begun(values) / "manifest.json"
    content = json.loads(manifest.read_text())
    picture(tmp_path, 1, 7)
    del content["settings"]["start"]
    manifest.write_text(json.dumps(content))
    assert said(values).startswith("the data changed")
    assert said(values, start=1) is None
    for damaged in ("{ half", json.dumps(content | {"settings": [1]}), json.dumps({"identity": {}})):
        manifest.write_text(damaged)
        assert said(values) is None


def test_changed_weights_are_named(tmp_path: Path, values: dict[str, Any]) -> None:
    values |= {"dataset": "digits", "max": 2, "data_root": None}
    values |= {"classifier": "digits_cnn", "classifier_weights": str(tmp_path / "w.safetensors")}
    begun(values)
    weights(tmp_path, seed=1)
    assert said(values).startswith("the classifier changed since run")
    (tmp_path / "w.safetensors").rename(tmp_path / "other.safetensors")
    assert said(values, classifier_weights=str(tmp_path / "other.safetensors")) is None
