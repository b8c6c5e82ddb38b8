"""How networks are trained on a device: compiled or not, which "auto" decides, and without faulty kernels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from digits_trainings import classifier_settings, denoiser_settings, rejector_settings

import raysmooth.tune.training.networks
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.training.networks import settled_compile, without_overrun
from raysmooth.tune.training.trainings import TRAININGS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MUCH = 2_000_000 * 32 * 32


@pytest.mark.parametrize(
    ("asked", "device", "pixels", "compiled"),
    [
        ("auto", CPU, 1000 * MUCH, False),
        ("auto", CUDA, MUCH - 1, False),
        ("auto", CUDA, MUCH, True),
        ("on", CPU, 1, True),
        ("on", CUDA, 1, True),
        ("off", CUDA, 1000 * MUCH, False),
    ],
)
def test_auto_compiles_long_trainings_on_a_gpu(
    asked: str, device: torch.device, pixels: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raysmooth.tune.training.networks, "compiler", lambda: "g++")
    monkeypatch.setattr(raysmooth.tune.training.networks, "require_compiler", lambda: None)
    assert settled_compile(asked, device, pixels) is compiled


def test_without_a_compiler_auto_is_off_and_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raysmooth.tune.training.networks, "compiler", lambda: None)
    monkeypatch.setattr("raysmooth.actors.compute.compilation.compiler", lambda: None)
    assert settled_compile("auto", CUDA, MUCH) is False
    with pytest.raises(RaysmoothError, match="--compile on needs a C"):
        settled_compile("on", CUDA, MUCH)


@pytest.mark.parametrize(("written", "read"), [("on", "on"), ("off", "off"), ("auto", "auto"), ('"on"', "on")])
def test_compile_in_a_file_needs_no_quotes(written: str, read: str, tmp_path: Path) -> None:
    file = tmp_path / "training.yaml"
    file.write_text(f"dataset: digits\nclassifier: digits_cnn\nout: w.safetensors\ncompile: {written}\n")
    assert checked(TrainClassifierSettings, {}, file).compile == read


def test_other_values_of_compile_are_refused_in_one_line() -> None:
    values = {"dataset": "digits", "classifier": "digits_cnn", "out": "w.safetensors", "compile": "fast"}
    with pytest.raises(RaysmoothError, match=r"^--compile fast: write auto, on or off$"):
        checked(TrainClassifierSettings, values)


def test_every_kind_of_training_has_its_settings_and_its_task(tmp_path: Path) -> None:
    linear = {"classifier": "base_classifiers:Linear", "classifier_weights": None}
    alone = {**linear, "denoiser": "none", "denoiser_weights": None, "max": 20, "compile": "off"}
    made: dict[str, Any] = {
        "classifier": classifier_settings(tmp_path / "c.safetensors", max=20, compile="off"),
        "denoiser": denoiser_settings(tmp_path / "d.safetensors", None, max=20, compile="off"),
        "rejector": rejector_settings(tmp_path / "r.safetensors", tmp_path, tmp_path, **alone),
    }
    assert set(TRAININGS) == set(made)
    for kind, settings in made.items():
        training = TRAININGS[kind]
        assert type(settings) is training.settings
        training.choose(settings)
        task = training.task(settings, CPU)
        assert task.network.compiled is False
        assert training.summary_metric in task.measure()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("channels", "size", "stride", "narrow"), [(4, 1, 2, True), (8, 1, 2, False), (4, 3, 2, False), (4, 1, 1, False)]
)
def test_a_training_leaves_out_onednn_where_that_overruns(channels: int, size: int, stride: int, narrow: bool) -> None:
    """On processors with AVX2 and no more, a training with (4, 1, 2) ends in a segmentation fault otherwise."""
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(channels, 8, size, stride))
    before = torch.backends.mkldnn.enabled
    with without_overrun(network, CPU):
        assert torch.backends.mkldnn.enabled == (before and not narrow)
    with without_overrun(network, CUDA):
        assert torch.backends.mkldnn.enabled == before
    assert torch.backends.mkldnn.enabled == before
