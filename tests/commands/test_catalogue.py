"""`raysmooth list` shows all names to choose from."""

import pytest
from conftest import REPOSITORY

from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.commands.catalogue import CATALOGUE
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.tune.data.augment import AUGMENTATIONS
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.sweeps.settings import TRAINING_SETTINGS

FILES = ("hf:FOLDER", "onnx:FILE")


@pytest.mark.parametrize(
    ("what", "column", "names"),
    [
        ("datasets", "dataset", [*DATASETS]),
        ("classifiers", "classifier", [*CLASSIFIERS, "any torchvision model", "timm/NAME", *FILES, "MODULE:CALLABLE"]),
        ("denoisers", "denoiser", [*DENOISERS, "onnx:FILE"]),
        ("rejectors", "rejector", ["confidence", "margin", "entropy", "network"]),
        ("objectives", "objective", [*CLASSIFIER_OBJECTIVES, *DENOISER_OBJECTIVES, *REJECTOR_OBJECTIVES]),
        ("searches", "search", ["ddrs", "grid", "selector"]),
        ("recipes", "recipe", [*RECIPES]),
        ("augmentations", "augment", [*AUGMENTATIONS]),
        ("metrics", "metric", ["certified_accuracy:radius=0.5", "acr", "accuracy_under_noise", "validation_loss"]),
        ("schedulers", "scheduler", ["fifo", "asha", "pbt"]),
        ("experiments", "experiment", sorted(file.stem for file in (REPOSITORY / "experiments").glob("*.yaml"))),
        (
            "stages",
            "stage",
            [
                *(f"train {name}" for name in TRAINING_SETTINGS),
                *("sweep", "certify", "predict", "optimize-sigma", "recertify", "choose", "serve", "gallery", "report"),
            ],
        ),
    ],
)
def test_every_entry_is_listed(what: str, column: str, names: list[str]) -> None:
    assert [row[column] for row in CATALOGUE[what]()] == names


def test_options_and_phases_are_shown_as_users_write_them() -> None:
    objectives = {row["objective"]: row["options"] for row in CATALOGUE["objectives"]()}
    assert objectives["stability"] == "lambda=2.0"
    assert objectives["consistency"].startswith("lambda=?, m=2")
    phases = {row["recipe"]: row["phases"] for row in CATALOGUE["recipes"]()}
    assert phases["salman2020-cifar10-stab-5"] == "50 epochs of adam 0.001; 550 epochs of sgd 0.01 (x0.1 every 200)"


def test_options_of_schedulers_and_keys_of_sweep_files() -> None:
    schedulers = {row["scheduler"]: row["options"] for row in CATALOGUE["schedulers"]()}
    assert list(schedulers.values()) == ["", "grace=1, factor=4", "every=5, quantile=0.25, resample=0.25"]
    keys = [row["key"] for row in CATALOGUE["sweep"]()]
    assert {"search_algorithm", "configurations", "num_trials", "validation: n0", "warm_start: objective"} <= set(keys)
