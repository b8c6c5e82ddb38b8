"""Warm starts: the training that all trials of a sweep begin with is done once for each network and noise."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from actors.refusal import Refusal
from pipeline.settings import checked
from tune.settings import TrainDenoiserSettings
from tune.sweep_settings import SweepSettings, WarmStartSettings

_OF_THE_NETWORK = ("denoiser", "sigma", "noise")
_OF_THE_DATA = ("dataset", "data_root", "split", "resize", "crop", "skip", "max")
_SHARED = (*_OF_THE_NETWORK, *_OF_THE_DATA)


def warm_start_key(settings: TrainDenoiserSettings) -> str:
    """Which warm start a trial of these settings begins with, in hex."""
    told = {name: getattr(settings, name) for name in _SHARED}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def warm_starts(
    trials: Iterable[TrainDenoiserSettings], warm: WarmStartSettings, sweep: SweepSettings, folder: Path
) -> Mapping[str, TrainDenoiserSettings]:
    """The trainings that `trials` need first, by `warm_start_key`; each writes its weights to `folder`, where a later
    sweep with the same one finds it done.
    """
    needed: dict[str, TrainDenoiserSettings] = {}
    for trial in trials:
        key = warm_start_key(trial)
        if key not in needed:
            values: dict[str, Any] = {name: getattr(trial, name) for name in _SHARED}
            values |= {**warm.model_dump(), "precision": trial.precision, "compile": trial.compile}
            values |= {"out": str(folder / f"{warm.objective}-{key}.safetensors"), "threads": sweep.cpus_per_trial}
            needed[key] = checked(TrainDenoiserSettings, values)
    return needed


def read_starts(needed: Mapping[str, TrainDenoiserSettings]) -> dict[str, bytes]:
    """Their weights files, to be sent to wherever trials run."""
    try:
        return {key: Path(settings.out).read_bytes() for key, settings in needed.items()}
    except OSError as error:
        raise Refusal(f"warm_start: {error.filename} cannot be read: {error.strerror}") from error
