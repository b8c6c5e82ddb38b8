"""Ray Tune, set up for a sweep: its Tuner, begun or restored, and none of its chatter."""

import logging
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow.fs import FileSelector, FileSystem

from raysmooth.tune.recipes.recipe_choice import choose_recipe
from raysmooth.tune.sweeps.atomic_storage import storage_files
from raysmooth.tune.sweeps.folder import below
from raysmooth.tune.sweeps.settings import SweepSettings, space_of, training_settings
from raysmooth.tune.sweeps.trial import run_trial

NAME = "trials"
"""Of the folder below the storage in which Ray Tune keeps its state and the checkpoints."""


def run_trials(sweep: SweepSettings, storage: str, gpus: bool, starts: Mapping[str, bytes]) -> Any:
    """All trials, by Ray Tune, with its state in `storage`; what was begun there is gone on with. Returns Ray Tune's
    analysis of them. `gpus`: whether there are any, which each trial then gets one of, unless the settings say else.
    """
    from ray import tune

    from raysmooth.tune.sweeps.trial_watch import TrialWatch

    scheduler = sweep.chosen_scheduler.row
    share = sweep.gpus_per_trial if sweep.gpus_per_trial is not None else float(gpus)
    settled = sweep.model_copy(update={"gpus_per_trial": share})
    needs = {"cpu": float(sweep.cpus_per_trial), **({"gpu": share} if share else {})}
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, sweep=settled, starts=starts, folder=os.getcwd()), needs
    )
    path = below(storage, NAME)
    files = storage_files(storage)
    if _is_begun(path, files):
        tuner = tune.Tuner.restore(
            path, trainable, resume_unfinished=True, resume_errored=True, storage_filesystem=files
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={key: domain.tunes for key, domain in space_of(sweep).items()},
            tune_config=_tune_config(sweep),
            run_config=tune.RunConfig(
                name=NAME,
                storage_path=storage,
                storage_filesystem=files,
                failure_config=tune.FailureConfig(max_failures=sweep.retries),
                # PBT copies weights from checkpoints that their own trials have already left behind.
                checkpoint_config=tune.CheckpointConfig(num_to_keep=None if scheduler.perturbs else 1),
                callbacks=[TrialWatch()],
                stop=_plateau(sweep),
                verbose=1 if sweep.verbose else 0,
            ),
        )
    tuner.fit()
    return tune.ExperimentAnalysis(path, storage_filesystem=files)


def _is_begun(path: str, files: FileSystem | None) -> bool:
    """Whether Ray Tune has written down which trials there are, and how far they came."""
    files, folder = (files, path) if files is not None else FileSystem.from_uri(path)
    found = files.get_file_info(FileSelector(folder, allow_not_found=True))
    names = {Path(info.path).name for info in found}
    return "tuner.pkl" in names and any(name.startswith("experiment_state-") for name in names)


def _tune_config(sweep: SweepSettings) -> Any:
    from ray import tune

    metric = sweep.chosen_metric
    column = None if metric is None else metric.row.column[sweep.train]
    mode = None if metric is None else metric.row.mode
    if sweep.chosen_scheduler.row.perturbs:  # Ray Tune's PBT draws from these two, and takes no generator
        random.seed(sweep.search_seed)
        np.random.seed(sweep.search_seed)  # noqa: NPY002 -- the very state that it draws ranges from
    most = max(epochs_of(sweep, drawn) for drawn in sweep.possible)
    return tune.TuneConfig(
        search_alg=_search(sweep, column, mode),
        scheduler=sweep.chosen_scheduler.build(column, mode, most, space_of(sweep)),
        num_samples=1 if sweep.by == "grid" else sweep.trials or 1,
        max_concurrent_trials=sweep.concurrent if sweep.by == "optuna" else None,  # the other search limits itself
        time_budget_s=None if sweep.hours is None else sweep.hours * 3600,
        trial_dirname_creator=_folder_name,
        reuse_actors=True,  # a process that has torch loaded begins its next trial at once
    )


def _plateau(sweep: SweepSettings) -> Any:
    """What ends trials whose metric has stopped to change; None where that was not asked for."""
    metric, plateau = sweep.chosen_metric, sweep.plateau
    if metric is None or plateau is None:
        return None
    from ray.tune.stopper import TrialPlateauStopper

    column = metric.row.column[sweep.train]
    return TrialPlateauStopper(column, std=plateau.std, num_results=plateau.results, grace_period=plateau.grace)


def _folder_name(trial: Any) -> str:
    return str(trial.trial_id)


def _search(sweep: SweepSettings, column: str | None, mode: str | None) -> Any:
    if sweep.by == "optuna":
        from ray.tune.search.optuna import OptunaSearch

        return OptunaSearch(metric=column, mode=mode, seed=sweep.search_seed)
    from ray.tune.search.basic_variant import BasicVariantGenerator

    # Constant: what is drawn is tried with every seed, else seeds could not be averaged over.
    return BasicVariantGenerator(
        random_state=sweep.search_seed, constant_grid_search=True, max_concurrent=sweep.concurrent or 0
    )


def epochs_of(sweep: SweepSettings, drawn: Mapping[str, Any]) -> int:
    """How many epochs a trial with these settings takes."""
    settings = training_settings(sweep, drawn, Path("weights.safetensors"))
    return choose_recipe(settings, settings.objective.partition(":")[0]).recipe.epochs


_QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay what they were
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each training has its own metrics.csv and TensorBoard events
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C shall end the command, not only the trials
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "5",  # seconds of finished trials that a kill may cost
    "RAY_AIR_NEW_OUTPUT": "0",
}


@contextmanager
def silent(verbose: bool) -> Iterator[None]:
    """Ray Tune's settings, and none of its chatter unless it is asked for."""
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
