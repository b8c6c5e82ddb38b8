"""Trainings on images of one's own, for which no recipe is made, and on grey ones with a network's usual options."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.denoisers import fit_channels
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.common.variant import Variant
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.trial_check import refuse_impossible_trials
from raysmooth.tune.sweeps.tuner import most_epochs
from raysmooth.tune.training.train import train_classifier, train_denoiser

COMMON: dict[str, Any] = {"threads": 1, "device": "cpu", "precision": "float32", "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey pictures in two class folders: dark and bright ones."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for place, name in enumerate(("bright", "dark")):
        (root / name).mkdir()
        for number in range(15):
            pixels = random.integers(0, 100, (12, 12)) + 150 * (1 - place)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Path:
    values = {"classifier": "small_cnn:num_classes=2,width=4", "out": str(folder.parent / "c.safetensors")}
    data = {"dataset": "folder", "data_root": str(folder)}
    return train_classifier(checked(TrainClassifierSettings, COMMON | data | values), show=False)


def recipe_of(weights: Path) -> dict[str, Any]:
    return dict(read_weights(weights).card["recipe"])


def test_a_classifier_of_a_folder_needs_no_recipe(classifier: Path) -> None:
    recipe = recipe_of(classifier)
    assert recipe["name"] == "general-classifier-few-small"
    assert (recipe["batch_size"], recipe["augment"], recipe["epochs"]) == (16, "shift", 1)
    assert recipe["source"] == RECIPES["general-classifier-few-small"].source


def test_a_denoiser_of_a_folder_needs_neither_recipe_nor_channels(
    folder: Path, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"dataset": "folder", "data_root": str(folder), "denoiser": "dncnn:depth=3,width=4", "sigma": "1/4"}
    behind = {"classifier": "small_cnn:num_classes=2,width=4", "classifier_weights": str(classifier)}
    made: dict[str, Path] = {}
    for objective, own in (("mse", {}), ("stab", behind), ("stab+mse", behind)):
        start = {"init_weights": str(made["mse"])} if objective == "stab+mse" else {}
        values = (
            COMMON | common | own | start | {"objective": objective, "out": str(tmp_path / f"{objective}.safetensors")}
        )
        made[objective] = train_denoiser(checked(TrainDenoiserSettings, values), show=objective == "mse")
        kind = "tuning" if objective == "stab+mse" else "denoiser"
        assert recipe_of(made[objective])["name"] == f"general-{kind}-few-small"
    assert read_weights(made["mse"]).card["sigma"] == 0.25
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "recipe" in line]
    assert note.startswith("raysmooth: recipe general-denoiser-few-small: 1 epoch of adam 0.001")
    assert "chosen for 30 images of 12x12 (fewer than 5,000, up to 64x64 pixels), as none is made for mse" in note


@pytest.mark.parametrize("channels", [1, 3])
def test_a_denoiser_has_the_channels_of_the_images(folder: Path, tmp_path: Path, channels: int) -> None:
    values = COMMON | {"dataset": "folder", "data_root": str(folder), "sigma": 0.25, "objective": "mse"}
    values |= {"channels": channels, "denoiser": "dncnn:depth=3,width=4", "out": str(tmp_path / "d.safetensors")}
    out = train_denoiser(checked(TrainDenoiserSettings, values), show=False)
    written = {1: "dncnn:channels=1,depth=3,width=4", 3: "dncnn:depth=3,width=4"}[channels]
    assert read_weights(out).card["architecture"] == written
    explicit = checked(TrainDenoiserSettings, values | {"denoiser": f"dncnn:channels={4 - channels}"})
    with pytest.raises(RaysmoothError, match=f"is for {4 - channels} channels, the images have {channels}: leave"):
        train_denoiser(explicit, show=False)


def test_the_same_name_loads_such_weights(tmp_path: Path) -> None:
    digits = {"dataset": "digits", "sigma": 0.25, "objective": "mse", "denoiser": "dncnn:depth=3,width=4", "max": 60}
    out = train_denoiser(
        checked(TrainDenoiserSettings, COMMON | digits | {"out": str(tmp_path / "d.safetensors")}), show=False
    )
    classifier = {"dataset": "digits", "classifier": "digits_cnn", "max": 60, "out": str(tmp_path / "c.safetensors")}
    behind = train_classifier(checked(TrainClassifierSettings, COMMON | classifier), show=False)
    loaded = load_base_classifier(
        BaseClassifierSpec("digits_cnn", str(behind), denoiser="dncnn", denoiser_weights=str(out)), torch.device("cpu")
    )
    assert loaded.model(torch.rand(2, 1, 8, 8)).shape == (2,)


@pytest.mark.parametrize(
    ("written", "channels", "fitted"),
    [
        ("dncnn", 3, "dncnn"),
        ("dncnn", 1, "dncnn:channels=1"),
        ("dncnn_wide:depth=5", 1, "dncnn_wide:channels=1,depth=5"),
        ("memnet:channels=3", 3, "memnet:channels=3"),
        ("memnet", 1, "memnet:channels=1"),
    ],
)
def test_channels(written: str, channels: int, fitted: str) -> None:
    assert str(fit_channels(Variant.parse(written), channels)) == fitted


def test_sweeps_know_the_recipes_and_channels_of_ones_own_images(
    folder: Path, classifier: Path, tmp_path: Path
) -> None:
    """Longest trials, and warm starts, where the file names neither recipe nor epochs nor channels."""
    settings = {"dataset": "folder", "data_root": str(folder), "denoiser": "dncnn:depth=3,width=4"}
    settings |= {"classifier": "small_cnn:num_classes=2,width=4", "classifier_weights": str(classifier)}
    values: dict[str, Any] = {"train": "denoiser", "settings": settings | {"objective": "stab+mse"}}
    values |= {"search": {"sigma": ["32/255", "64/255"]}, "warm_start": {"objective": "mse"}}
    sweep = checked(SweepSettings, values | {"out": str(tmp_path / "sweep")})
    refuse_impossible_trials(sweep)
    assert most_epochs(sweep) == RECIPES["general-tuning-few-small"].epochs
    assert [config["sigma"] for config in sweep.trial_configs] == [32 / 255, 64 / 255]

    digits = {"dataset": "digits", "max": 60, "classifier": "digits_cnn", "out": str(tmp_path / "digits.safetensors")}
    behind = train_classifier(checked(TrainClassifierSettings, COMMON | digits), show=False)
    values["settings"] = {"dataset": "digits", "classifier": "digits_cnn", "classifier_weights": str(behind)}
    values["settings"] |= {"denoiser": "dncnn:depth=3,width=4", "objective": "stab+mse"}
    refuse_impossible_trials(checked(SweepSettings, values))
