"""Whatever can be known to fail in a sweep's trials, known before the first of them begins."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant
from raysmooth.tune.recipes.settings import TrainDenoiserSettings
from raysmooth.tune.sweeps.schedulers import PERTURBED
from raysmooth.tune.sweeps.settings import SweepSettings, training_settings
from raysmooth.tune.sweeps.tuner import epochs_of

_IMAGES = 20
"""To try a training on."""

_NEEDS_NO_TRIAL = {*PERTURBED, "seed", "epochs", "out"}
"""Settings whose values were checked when they were read: trainings that differ in these alone are tried once."""


def refuse_impossible_trials(sweep: SweepSettings) -> None:
    """Raises RaysmoothError, as the trial itself would, for networks, weights, surrogates, recipes and data that are not there
    or do not fit together. Each is tried on some images, on the CPU; nothing is trained.
    """
    tried = set()
    with TemporaryDirectory() as scratch:
        for drawn in sweep.possible:
            epochs_of(sweep, drawn)
            settings = training_settings(sweep, {**drawn, "seed": sweep.seeds[0]}, Path(scratch) / "out.safetensors")
            key = settings.model_dump_json(exclude=_NEEDS_NO_TRIAL)
            if key in tried:
                continue
            tried.add(key)
            small = {"max": min(settings.max or _IMAGES, _IMAGES), "compile": False, "precision": "float32"}
            if sweep.warm_start is not None:
                small["init_weights"] = _stand_in(settings, sweep.warm_start.objective, Path(scratch))
            sweep.training.assign(settings.model_copy(update=small), torch.device("cpu"))


def _stand_in(settings: TrainDenoiserSettings, objective: str, folder: Path) -> str:
    """Weights as the warm start will give them, but untrained."""
    file = folder / "start.safetensors"
    save_weights(file, build_denoiser(Variant.parse(settings.denoiser)), {"objective": objective})
    return str(file)
