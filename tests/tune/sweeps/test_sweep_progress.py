"""The notes about a sweep's trials."""

from pathlib import Path
from typing import Any

import pytest
from sweeps import settings_of

from raysmooth.tune.sweeps.progress import SweepProgress


def trials(**states: tuple[str, float]) -> dict[str, tuple[str, float, dict[str, Any]]]:
    config = {"optimizer": "adam", "learning_rate": 0.01, "seed": 0}
    return {name: (status, done, config) for name, (status, done) in states.items()}


def test_each_trial_that_ends_is_noted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = SweepProgress(settings_of(tmp_path), show=True)
    progress.trials_changed(trials(a=("TERMINATED", 1.0), b=("RUNNING", 0.5), c=("RUNNING", 0.5)))
    progress.trial_validated("b", {"acr": 0.25, "epoch": 2})
    progress.trials_changed(trials(a=("TERMINATED", 1.0), b=("TERMINATED", 1.0), c=("RUNNING", 0.5)))
    progress.trials_changed(trials(a=("TERMINATED", 1.0), b=("TERMINATED", 1.0), c=("ERROR", 0.5)))
    lines = [line for line in capsys.readouterr().err.splitlines() if "trial " in line]
    # Trial a had ended before.
    assert lines == [
        "sweep: trial b finished: optimizer=adam, learning_rate=0.01; acr 0.25 after epoch 2",
        "sweep: trial c failed: optimizer=adam, learning_rate=0.01",
    ]
