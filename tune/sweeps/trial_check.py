"""Finds the errors in a sweep's trials that can be found before the first trial starts."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from raysmooth.actors.models.denoisers import build_denoiser, fit_channels
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant
from raysmooth.tune.recipes.settings import TrainDenoiserSettings
from raysmooth.tune.sweeps.schedulers import PERTURBED
from raysmooth.tune.sweeps.settings import SweepSettings, training_settings
from raysmooth.tune.training.trainings import TRAININGS

_IMAGES = 20
"""Number of images to try a training on."""

_NEEDS_NO_TRIAL = {*PERTURBED, "seed", "epochs", "out"}
"""Settings that were checked when they were read: of trainings that differ only in these, one is tried."""


def refuse_impossible_trials(sweep: SweepSettings) -> None:
    """Raises RaysmoothError, as the trial itself would, for networks, weights, surrogates, recipes and data that do not
    exist or do not fit together. Each is tried on a few images, on the CPU; nothing is trained.
    """
    tried = set()
    with TemporaryDirectory() as scratch:
        for config in sweep.trial_configs:
            settings = training_settings(sweep, {**config, "seed": sweep.seeds[0]}, Path(scratch) / "out.safetensors")
            start = {} if sweep.warm_start is None else {"init_weights": sweep.warm_start.objective}
            TRAININGS[sweep.train].choose(settings.model_copy(update=start))  # opens no file
            key = settings.model_dump_json(exclude=_NEEDS_NO_TRIAL)
            if key in tried:
                continue
            tried.add(key)
            small = {"max": min(settings.max or _IMAGES, _IMAGES), "compile": "off", "precision": "float32"}
            if sweep.warm_start is not None:
                small["init_weights"] = _untrained_start(settings, sweep.warm_start.objective, Path(scratch))
            TRAININGS[sweep.train].task(settings.model_copy(update=small), torch.device("cpu"))


def _untrained_start(settings: TrainDenoiserSettings, objective: str, folder: Path) -> str:
    """A file like that of the warm start, with untrained weights."""
    file = folder / "start.safetensors"
    architecture = fit_channels(Variant.parse(settings.denoiser), settings.open_dataset().channels)
    save_weights(file, build_denoiser(architecture), {"objective": objective})
    return str(file)
