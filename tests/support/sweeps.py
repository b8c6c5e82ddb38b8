"""Small sweeps of classifiers of the digits."""

import os
import time
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from digits_trainings import COMMON
from ray.tune import Checkpoint

from raysmooth.common.settings import user_settings
from raysmooth.tune.sweeps.settings import SweepSettings, space_of
from raysmooth.tune.sweeps.sweep import SweepResult, run_sweep
from raysmooth.tune.sweeps.trial import run_trial

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


def run_here(settings: SweepSettings, storage: str, gpus: bool, starts: Mapping[str, bytes]) -> Any:
    """Run all trials one after the other in this process, in place of Ray Tune (see tests/tune/sweeps/test_sweep.py).
    Returns an analysis like Ray Tune's.
    """
    trials = []
    space = space_of(settings)
    for number, values in enumerate(product(*(domain.values for domain in space.values()))):
        config, last, kept = dict(zip(space, values, strict=True)), dict[str, Any](), Path(storage) / f"trial-{number}"

        def report(metrics: dict[str, Any], checkpoint: Checkpoint, kept: Path = kept, last: Any = last) -> None:
            checkpoint.to_directory(str(kept))
            last.update(metrics)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ray.tune.report", report)
            patch.setattr("ray.tune.get_checkpoint", lambda: None)
            run_trial(config, settings, starts, os.getcwd())
        checkpoint = Checkpoint.from_directory(str(kept))
        trials.append(SimpleNamespace(trial_id=f"{number:05d}", status="TERMINATED", config=config, last_result=last))
        trials[-1].checkpoint = checkpoint
    return SimpleNamespace(trials=trials)


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
