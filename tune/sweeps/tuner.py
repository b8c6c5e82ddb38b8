"""Ray Tune, set up for a sweep: its Tuner, new or restored, with quiet output."""

import logging
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow.fs import FileSelector, FileSystem

from raysmooth.tune.recipes.general import ImageSet
from raysmooth.tune.recipes.recipe_choice import choose_recipe, images_of
from raysmooth.tune.recipes.settings import TrainingDataSettings
from raysmooth.tune.sweeps.atomic_storage import storage_files
from raysmooth.tune.sweeps.folder import below
from raysmooth.tune.sweeps.settings import SweepSettings, space_of, training_settings
from raysmooth.tune.sweeps.trial import run_trial

NAME = "trials"
"""The folder below the storage in which Ray Tune keeps its state and the checkpoints."""


def run_trials(sweep: SweepSettings, storage: str, gpus: bool, starts: Mapping[str, bytes]) -> Any:
    """Run all trials with Ray Tune, whose state is in `storage`; a sweep that was started there is resumed. Returns Ray
    Tune's analysis. `gpus`: whether the cluster has GPUs; each trial then gets one, unless the settings say otherwise.
    `starts`: see `run_trial`.
    """
    from ray import tune

    from raysmooth.tune.sweeps.trial_watch import TrialWatch

    scheduler = sweep.chosen_scheduler.entry
    gpus_per_trial = sweep.gpus_per_trial if sweep.gpus_per_trial is not None else float(gpus)
    settled = sweep.model_copy(update={"gpus_per_trial": gpus_per_trial})
    needs = {"cpu": float(sweep.cpus_per_trial), **({"gpu": gpus_per_trial} if gpus_per_trial else {})}
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, sweep=settled, starts=starts, folder=os.getcwd()), needs
    )
    path = below(storage, NAME)
    files = storage_files(storage)
    if _is_started(path, files):
        tuner = tune.Tuner.restore(
            path, trainable, resume_unfinished=True, resume_errored=True, storage_filesystem=files
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={key: domain.for_ray_tune for key, domain in space_of(sweep).items()},
            tune_config=_tune_config(sweep),
            run_config=tune.RunConfig(
                name=NAME,
                storage_path=storage,
                storage_filesystem=files,
                failure_config=tune.FailureConfig(max_failures=sweep.retries),
                # PBT copies weights from checkpoints older than a trial's last.
                checkpoint_config=tune.CheckpointConfig(num_to_keep=None if scheduler.perturbs else 1),
                callbacks=[TrialWatch()],
                stop=_plateau(sweep),
                verbose=1 if sweep.verbose else 0,
            ),
        )
    tuner.fit()
    return tune.ExperimentAnalysis(path, storage_filesystem=files)


def _is_started(path: str, files: FileSystem | None) -> bool:
    """Whether Ray Tune has saved its trials and their progress."""
    files, folder = (files, path) if files is not None else FileSystem.from_uri(path)
    found = files.get_file_info(FileSelector(folder, allow_not_found=True))
    names = {Path(info.path).name for info in found}
    return "tuner.pkl" in names and any(name.startswith("experiment_state-") for name in names)


def _tune_config(sweep: SweepSettings) -> Any:
    from ray import tune

    metric, column = sweep.chosen_metric, sweep.metric_column
    mode = None if metric is None else metric.entry.mode
    if sweep.chosen_scheduler.entry.perturbs:  # Ray Tune's PBT samples from these two, and takes no generator
        random.seed(sweep.search_seed)
        np.random.seed(sweep.search_seed)  # noqa: NPY002 -- the state that it samples ranges from
    epochs = most_epochs(sweep)
    return tune.TuneConfig(
        search_alg=_search(sweep, column, mode),
        scheduler=sweep.chosen_scheduler.options.build(column, mode, epochs, space_of(sweep)),
        num_samples=1 if sweep.search_algorithm == "grid" else sweep.num_trials or 1,
        # The other search algorithm has its own limit.
        max_concurrent_trials=sweep.max_concurrent_trials if sweep.search_algorithm == "optuna" else None,
        time_budget_s=None if sweep.time_budget_hours is None else sweep.time_budget_hours * 3600,
        trial_dirname_creator=_folder_name,
        reuse_actors=True,  # a process that has loaded torch starts its next trial at once
    )


def _plateau(sweep: SweepSettings) -> Any:
    """Ray Tune's stopper for trials whose metric has stopped changing; None if the sweep has no `plateau`."""
    column, plateau = sweep.metric_column, sweep.plateau
    if column is None or plateau is None:
        return None
    from ray.tune.stopper import TrialPlateauStopper

    return TrialPlateauStopper(column, std=plateau.std, num_results=plateau.results, grace_period=plateau.grace)


def _folder_name(trial: Any) -> str:
    return str(trial.trial_id)


def _search(sweep: SweepSettings, column: str | None, mode: str | None) -> Any:
    if sweep.search_algorithm == "optuna":
        from ray.tune.search.optuna import OptunaSearch

        return OptunaSearch(metric=column, mode=mode, seed=sweep.search_seed)
    from ray.tune.search.basic_variant import BasicVariantGenerator

    # Constant: every sample is tried with every seed, so that results can be averaged over seeds.
    return BasicVariantGenerator(
        random_state=sweep.search_seed,
        constant_grid_search=True,
        max_concurrent=sweep.max_concurrent_trials or 0,
    )


def most_epochs(sweep: SweepSettings) -> int:
    """The number of epochs of the longest trial."""
    known: dict[str, ImageSet] = {}

    def images(settings: Any) -> ImageSet:
        data = settings.model_dump_json(include=set(TrainingDataSettings.model_fields))
        if data not in known:
            known[data] = images_of(settings, settings.open_dataset())
        return known[data]

    longest = 0
    for config in sweep.trial_configs:
        settings = training_settings(sweep, config, Path("weights.safetensors"))
        named = choose_recipe(settings, settings.objective.partition(":")[0], partial(images, settings))
        longest = max(longest, named.recipe.epochs)
    return longest


_QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths keep their meaning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each training has its own metrics.csv and TensorBoard events
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, not only the trials
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "5",  # seconds of finished trials that a kill may lose
    "RAY_AIR_NEW_OUTPUT": "0",
}


@contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Ray Tune's environment settings, and its log messages only if `verbose`."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO if verbose else logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
