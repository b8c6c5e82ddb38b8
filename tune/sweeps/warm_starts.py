"""Warm starts: the weights that all trials of a sweep start from are trained once for each network and noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.common.settings import checked
from raysmooth.pipeline.runs.data_settings import READING
from raysmooth.tune.recipes.settings import TrainDenoiserSettings
from raysmooth.tune.sweeps.settings import SweepSettings, WarmStartSettings, training_settings
from raysmooth.tune.sweeps.trials import Trial

FOLDER = "warm"
"""The folder of the warm starts, below the sweep's folder and below its storage."""

_DECISIVE = ("denoiser", "sigma", "noise", "dataset", "data_root", "split", "resize", "crop", "skip", "max")
"""Settings of a trial that decide which warm start it has, beside those of READING that it has."""

_COPIED = ("precision", "compile")
"""Settings that all warm starts copy from the first trial."""


def warm_start_key(settings: TrainDenoiserSettings) -> str:
    """The warm start of a trial with these settings, in hex."""
    return settings_hash(_decisive(settings))[:16]


def _decisive(settings: TrainDenoiserSettings) -> dict[str, Any]:
    given = [name for name in READING if name not in _DECISIVE and getattr(settings, name) is not None]
    return {name: getattr(settings, name) for name in (*_DECISIVE, *given)}


def warm_sweep(sweep: SweepSettings, warm: WarmStartSettings) -> SweepSettings:
    """The sweep that trains initial weights for the trials of `sweep`: one trial for each network, noise and data."""
    configurations: dict[str, dict[str, Any]] = {}
    copied: dict[str, Any] = {}
    for config in sweep.trial_configs:
        trial = training_settings(sweep, {**config, "seed": warm.seed}, Path("weights.safetensors"))
        configurations.setdefault(warm_start_key(trial), _decisive(trial))
        copied = copied or {name: getattr(trial, name) for name in _COPIED}
    own = {name: value for name, value in warm.model_dump(exclude={"seed"}).items() if value is not None}
    same = ("train", "cpus_per_trial", "gpus_per_trial", "max_concurrent_trials", "retries", "verbose", "trust_code")
    values = {
        **{name: getattr(sweep, name) for name in same},
        "settings": {**copied, **own},
        "configurations": list(configurations.values()),
        "seeds": [warm.seed],
        "validation": {"every": sweep.validation.every},
        "out": str(Path(sweep.out) / FOLDER),
    }
    return checked(SweepSettings, values)


def starts_of(warm: SweepSettings, trials: Sequence[Trial]) -> Mapping[str, bytes]:
    """The contents of the warm starts' weights files by `warm_start_key`, which Ray sends to the trials. Raises
    RaysmoothError if a warm start failed.
    """
    starts = {}
    for trial in trials:
        if trial.status != "finished" or trial.weights is None:
            raise RaysmoothError(
                f"warm_start: its training {trial.status}: {trial.error}: rerun the same command to retry it"
            )
        starts[warm_start_key(training_settings(warm, trial.config, trial.weights))] = trial.weights.read_bytes()
    return starts
