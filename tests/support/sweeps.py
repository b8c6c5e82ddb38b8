"""Small sweeps of classifiers of the digits."""

from pathlib import Path
from typing import Any

from digits_trainings import COMMON

from raysmooth.common.settings import checked
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.sweep import SweepResult, run_sweep

TRAINING = {key: COMMON[key] for key in ("dataset", "precision")}
CLASSIFIER = {**TRAINING, "classifier": "digits_cnn", "objective": "gaussian", "sigma": 0.25, "epochs": 2, "skip": 2}
VALIDATION = {"images": 8, "n": 100, "n0": 20}


def experiment(out: Path, **changes: Any) -> dict[str, Any]:
    base = {
        "train": "classifier",
        "settings": CLASSIFIER,
        "search": {"optimizer": ["adam", "sgd"], "learning_rate": [1e-2, 1e-3]},
        "metric": "acr",
        "validation": VALIDATION,
        "out": str(out),
    }
    return {**base, **changes}


def settings_of(out: Path, **changes: Any) -> SweepSettings:
    return checked(SweepSettings, experiment(out, **changes))


def swept(out: Path, **changes: Any) -> SweepResult:
    return run_sweep(settings_of(out, **changes), show=False)
