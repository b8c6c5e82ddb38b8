"""Warm starts: the training that all trials of a sweep begin with is done once for each network and noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.common.settings import checked
from raysmooth.tune.recipes.settings import TrainDenoiserSettings
from raysmooth.tune.sweeps.settings import SweepSettings, WarmStartSettings, training_settings
from raysmooth.tune.sweeps.trials import Trial

FOLDER = "warm"
"""Of what they leave, below the sweep's own folder and storage."""

_DIFFER_BY = ("denoiser", "sigma", "noise", "dataset", "data_root", "split", "resize", "crop", "skip", "max")
"""Settings of a trial that decide which warm start is its own."""

_SAME = ("precision", "compile")
"""Settings that all warm starts take from the first trial."""


def warm_start_key(settings: TrainDenoiserSettings) -> str:
    """Which warm start a trial of these settings begins with, in hex."""
    told = {name: getattr(settings, name) for name in _DIFFER_BY}
    return settings_hash(told)[:16]


def warm_sweep(sweep: SweepSettings, warm: WarmStartSettings) -> SweepSettings:
    """The sweep that trains what the trials of `sweep` begin with: a trial for each network, noise and data."""
    rows: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for drawn in sweep.possible:
        trial = training_settings(sweep, {**drawn, "seed": warm.seed}, Path("weights.safetensors"))
        rows.setdefault(warm_start_key(trial), {name: getattr(trial, name) for name in _DIFFER_BY})
        shared = shared or {name: getattr(trial, name) for name in _SAME}
    own = {name: value for name, value in warm.model_dump(exclude={"seed"}).items() if value is not None}
    same = ("train", "cpus_per_trial", "gpus_per_trial", "concurrent", "retries", "verbose")
    values = {
        **{name: getattr(sweep, name) for name in same},
        "settings": {**shared, **own},
        "each": list(rows.values()),
        "seeds": [warm.seed],
        "validation": {"every": sweep.validation.every},
        "out": str(Path(sweep.out) / FOLDER),
    }
    return checked(SweepSettings, values)


def starts_of(warm: SweepSettings, trials: Sequence[Trial]) -> Mapping[str, bytes]:
    """The weights files of the warm starts by `warm_start_key`, to be sent to wherever trials run; raises RaysmoothError where
    one failed.
    """
    starts = {}
    for trial in trials:
        if trial.status != "finished" or trial.weights is None:
            raise RaysmoothError(
                f"warm_start: its training {trial.status}: {trial.error}: the same command tries it again"
            )
        starts[warm_start_key(training_settings(warm, trial.drawn, trial.weights))] = trial.weights.read_bytes()
    return starts
