"""A finished run is recognised without torch, where nothing that decides it has changed; everything else loads it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_command import outcomes
from digits_runs import run, same, settings_of

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.drawing import finished_runs
from raysmooth.pipeline.drawing.finished_runs import Beforehand, look_beforehand, stored_rows
from raysmooth.pipeline.runs import network_facts
from raysmooth.pipeline.runs.network_facts import load_facts, made_from, spec_at, surely_on_cpu
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.versions import source_sha256

pytestmark = pytest.mark.usefixtures("one_pool")

RUN = {"classifier": "digits_cnn", "classifier_weights": "w.safetensors", "max": 5, "n": 100, "sigma": "0.25,0.5"}
CERTIFY = PROCEDURES["certify"]


def write_weights(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    save_weights(path, build_classifier(Variant.parse("digits_cnn")), {"preprocess": "none"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, one_pool: None) -> Path:
    """A folder with weights and their two finished runs, drawn on Ray."""
    home = tmp_path_factory.mktemp("finished")
    write_weights(home / "w.safetensors", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        run(Path("results"), **RUN)
    return home


@pytest.fixture
def home(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory of a process that would start a local Ray, and that loads no network."""
    shutil.copytree(finished, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setattr(finished_runs, "will_be_local", lambda address: True)
    return tmp_path / "home"


def look(**changes: Any) -> Beforehand:
    return look_beforehand(CERTIFY, [settings_of(Path("results"), **{**RUN, "gpus_per_replica": 0, **changes})], False)


@pytest.mark.processes
def test_a_finished_run_prints_its_table_without_torch_and_ray(home: Path) -> None:
    line = (
        "certify --dataset digits --classifier digits_cnn --classifier-weights w.safetensors --sigma 0.25,0.5 --max 5 "
        "--n 100 --n0 40 --batch-size 100 --block-size 200 --gpus-per-replica 0 --address local"
    )
    ((code, out, err),) = outcomes([line], blocked=("torch", "torchvision", "timm", "ray"))
    assert code == 0, err
    assert "ACR" in out
    assert "are finished: all 10 images have their rows" in err
    assert "nothing to draw, so Ray was not started" in err
    ((code, _, err),) = outcomes([f"{line} --seed 1"], blocked=("torch", "ray"))
    assert code == "torch"
    assert err.splitlines()[-1] == "raysmooth: loading torch, then reading data and weights ..."


def test_its_rows_are_those_that_were_drawn(home: Path) -> None:
    found = look()
    assert found.ids is not None
    rows = stored_rows(CERTIFY, [settings_of(Path("results"), **RUN)], [found.ids])
    same(rows, run(Path("results"), **RUN))
    assert list(rows.sigma) == [0.25] * 5 + [0.5] * 5


@pytest.mark.parametrize(
    "changes",
    [
        {"max": 6},
        {"n": 200},
        {"seed": 1},
        {"sigma": "0.25,1.0"},
        {"batch_size": 50},
        {"preprocess": "0.5/0.5"},
        {"cpus_per_replica": 2},
        {"gpus_per_replica": 1},
    ],
)
def test_other_settings_are_another_run(home: Path, changes: dict[str, Any]) -> None:
    assert look(**changes).ids is None


def test_another_weights_file_is_not_taken_for_the_old_one(home: Path) -> None:
    write_weights(home / "w.safetensors", 1)
    assert look().ids is None
    write_weights(home / "w.safetensors", 0)
    assert look().ids is not None


def test_other_data_are_read_and_compared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raysmooth.pipeline.data import array_dataset

    levels, labels = array_dataset._digits()
    altered = levels.copy()
    altered[1397, 0, 0] += 1
    monkeypatch.setattr(array_dataset, "_digits", lambda: (altered, labels))
    found = look()
    assert found.ids is None
    assert len(found.opened) == 1  # and not read again for the run that follows


@pytest.mark.parametrize("library", ["torch", "torchvision", "safetensors", "numpy"])
def test_another_version_of_a_library_loads_the_networks(
    home: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = network_facts.package_version
    monkeypatch.setattr(network_facts, "package_version", lambda name: "0.0.1" if name == library else version(name))
    assert look().ids is None


def test_other_code_of_ours_or_another_processor_does_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(network_facts, "source_sha256", lambda *_: "0" * 64)
        assert look().ids is None
    with monkeypatch.context() as patch:
        patch.setattr(network_facts, "processor_kind", lambda: ["model name: another"])
        assert look().ids is None
    with monkeypatch.context() as patch:
        patch.setattr(network_facts, "processor_kind", lambda: None)
        assert look().ids is None
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert look().ids is None


def test_rows_and_counts_are_checked_as_those_of_a_resumed_run(home: Path) -> None:
    part = next(home.glob("results/runs/*/counts/*.parquet"))
    content = part.read_bytes()
    part.write_bytes(b"no Parquet")
    with pytest.raises(RaysmoothError, match=part.name):
        look()
    part.write_bytes(content)
    next(home.glob("results/certificates/*/*.parquet")).unlink()
    assert look().ids is None


def test_a_manifest_of_another_hand_prints_nothing_but_text(home: Path) -> None:
    for file in home.glob("results/runs/*/manifest.json"):
        manifest = json.loads(file.read_text())
        file.write_text(json.dumps({**manifest, "assumed": ["\x1b[2J"]}))
    assert look().ids is None


def test_what_cannot_be_promised_is_not_recorded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own code, weights without a file, a huge one, one that is replaced while it is read."""
    image, noise = np.zeros((1, 8, 8), np.float32), Gaussian(0.25)

    def spec(**changes: Any) -> Any:
        return spec_at(settings_of(Path("results"), **{**RUN, **changes}), 0.25)

    assert made_from(spec(), noise) == load_facts(spec(), image, noise).made_from
    assert made_from(spec(classifier_weights=None, classifier="base_classifiers:Linear"), noise) is None
    assert made_from(spec(classifier_weights="IMAGENET1K_V1"), noise) is None
    huge = home / "huge.safetensors"
    with huge.open("wb") as file:
        file.truncate(2**30 + 1)  # without blocks on the disk
    assert made_from(spec(classifier_weights=str(huge)), noise) is None
    hashes = iter(["a" * 64, "b" * 64])
    monkeypatch.setattr(network_facts, "file_sha256", lambda path, most_bytes: next(hashes))
    assert load_facts(spec(), image, noise).made_from is None


def test_a_training_with_sigmas_of_the_images_own_has_another_objective(home: Path) -> None:
    classifier = build_classifier(Variant.parse("digits_cnn"))
    for moved, objective in ((None, "macer:m=2"), ({"steps": 1}, "data-dependent macer:m=2")):
        save_weights(home / "w.safetensors", classifier, {"objective": "macer:m=2", "data_dependent": moved})
        spec = spec_at(settings_of(Path("results"), **RUN), 0.25)
        assert load_facts(spec, np.zeros((1, 8, 8), np.float32), Gaussian(0.25)).objective == objective


def test_no_gpu_is_taken_for_granted_only_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def sure(version: str, **changes: Any) -> bool:
        monkeypatch.setattr(network_facts, "package_version", lambda name: version)
        return surely_on_cpu(settings_of(Path("results"), **changes))

    assert sure("2.15.0+cpu")
    assert sure("2.15.0+cu132", gpus_per_replica=0)
    assert not sure("2.15.0+cpu", gpus_per_replica=1)
    monkeypatch.setattr(network_facts.ctypes, "CDLL", lambda name: object())
    assert not sure("2.15.0+cu132")


def test_source_is_distinguished_by_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.py").write_text("x = 1\n")
    (tmp_path / "a" / "notes.txt").write_text("left out")
    before = source_sha256(tmp_path, ["a"])
    (tmp_path / "a" / "notes.txt").write_text("still")
    assert source_sha256(tmp_path, ["a"]) == before
    (tmp_path / "a" / "b" / "c.py").write_text("x = 2\n")
    changed = source_sha256(tmp_path, ["a"])
    (tmp_path / "a" / "b" / "c.py").rename(tmp_path / "a" / "c.py")
    assert len({before, changed, source_sha256(tmp_path, ["a"])}) == 3
