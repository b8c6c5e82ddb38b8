"""Small sweeps of classifiers of the digits."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from digits_trainings import COMMON

from raysmooth.common.settings import user_settings
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.sweep import SweepResult, run_sweep

TRAINING = {key: COMMON[key] for key in ("dataset", "precision")}
CLASSIFIER = {**TRAINING, "classifier": "digits_cnn", "objective": "gaussian", "sigma": 0.25, "epochs": 2, "skip": 2}
VALIDATION = {"images": 8, "n": 100, "n0": 20}


def experiment(out: Path, **changes: Any) -> dict[str, Any]:
    """The values of a sweep file. Its trials run one after the other, in one process: starting one takes longer than
    such a training.
    """
    base = {
        "train": "classifier",
        "settings": CLASSIFIER,
        "search": {"optimizer": ["adam", "sgd"], "learning_rate": [1e-2, 1e-3]},
        "metric": "acr",
        "validation": VALIDATION,
        "max_concurrent_trials": 1,
        "out": str(out),
    }
    return {**base, **changes}


def settings_of(out: Path, **changes: Any) -> SweepSettings:
    return user_settings(SweepSettings, experiment(out, **changes))


def swept(out: Path, **changes: Any) -> SweepResult:
    return run_sweep(settings_of(out, **changes), show=False)


def held_cnn(until: str) -> torch.nn.Module:
    """digits_cnn whose training does not finish its first epoch until the file `until` exists."""
    return _waiting_cnn(Path(until).exists)


def meeting_cnn(folder: str, count: int) -> torch.nn.Module:
    """digits_cnn whose training does not finish its first epoch until `count` processes train one. Each process leaves
    a file in `folder`.
    """

    def all_started() -> bool:
        (Path(folder) / str(os.getpid())).touch()
        return len(list(Path(folder).iterdir())) >= count

    return _waiting_cnn(all_started)


def _waiting_cnn(ready: Callable[[], bool]) -> torch.nn.Module:
    """digits_cnn that waits in its third training step; checks before a sweep take one."""
    from raysmooth.actors.models.networks.digits import digits_cnn

    network = digits_cnn()
    steps = 0

    def wait(module: torch.nn.Module, _: object) -> None:
        nonlocal steps
        steps += module.training
        while steps == 3 and not ready():
            time.sleep(0.05)

    network.register_forward_pre_hook(wait)
    return network
