"""A sweep: many trainings side by side by Ray Tune, the best of which is certified."""

import json
import logging
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from actors.refusal import Refusal
from actors.whole_file import written_whole
from pipeline.cluster import Cluster, connected, will_be_local
from pipeline.datasets import open_dataset
from pipeline.driver import carry_out
from pipeline.index_set import IndexSet
from pipeline.procedures import PROCEDURES
from pipeline.settings import CertifySettings, checked
from tune.recipe_choice import choose_recipe
from tune.sweep_progress import SweepProgress, watched_by
from tune.sweep_settings import SweepSettings, space_of
from tune.train import train_denoiser
from tune.trial import run_trial, training_settings
from tune.trials import Winner, collect, winner_of, write_trials
from tune.validation_certificates import refuse_shared
from tune.warm_starts import read_starts, warm_starts

NAME = "trials"
"""Of the folder below the storage in which Ray Tune keeps its state and the checkpoints."""


@dataclass(frozen=True)
class SweepResult:
    """`trials` has a row for each trial and judged epoch; `winner` is None where no metric was named or no trial
    reported; `certificates` are its rows, None where they were not asked for.
    """

    trials: pd.DataFrame
    winner: Winner | None
    certificates: pd.DataFrame | None


def run_sweep(sweep: SweepSettings, show: bool = True) -> SweepResult:
    """Run all trials of `sweep`, or those that are missing, write them down, and certify the winner.

    The same sweep again continues: finished trials are kept, unfinished ones go on from their last judged epoch, failed
    ones are tried again. Raises Refusal, before Ray starts, for what cannot be carried out.
    """
    out = Path(sweep.out).expanduser().absolute()
    first = training_settings(sweep, {**next(sweep.possible), "seed": sweep.seeds[0]}, out / "weights.safetensors")
    if sweep.certify is not None:
        _refuse_shared_images(first, checked(CertifySettings, _certified(sweep, first, "weights.safetensors")))
    if will_be_local(sweep.address):
        _refuse_few_resources(sweep, os.cpu_count() or 1, torch.cuda.device_count(), "this machine")
    if sweep.warm_start is None:
        sweep.training.assign(first.model_copy(update={"compile": False}), torch.device("cpu"))
    _refuse_other_sweep(out, sweep)
    with _silent(sweep.verbose), connected(sweep.address, sweep.verbose) as cluster:
        _refuse_few_resources(sweep, cluster.cpus, cluster.gpus, "the cluster")
        starts = _warm_up(sweep, out, show)
        with SweepProgress(sweep, show) as progress, watched_by(progress):
            analysis = _fit(sweep, out, cluster, starts)
        trials = collect(analysis, out)
        rows = write_trials(trials, sweep, out)
        winner = winner_of(rows, sweep, trials)
        certificates = None
        if sweep.certify is not None:
            chosen = [trial for trial in trials if sweep.certify_all or (winner and trial.trial_id == winner.trial_id)]
            jobs = [_certify_settings(sweep, trial.drawn, trial.weights) for trial in chosen if trial.weights]
            certificates = carry_out(PROCEDURES["certify"], jobs, show) if jobs else None
    return SweepResult(rows, winner, certificates)


def _fit(sweep: SweepSettings, out: Path, cluster: Cluster, starts: Mapping[str, bytes]) -> Any:
    """All trials, by Ray Tune; what was begun is gone on with. Returns Ray Tune's analysis of them."""
    from ray import tune

    from tune.trial_watch import TrialWatch

    scheduler = sweep.chosen_scheduler.row
    gpus = sweep.gpus_per_trial if sweep.gpus_per_trial is not None else float(cluster.gpus > 0)
    settled = sweep.model_copy(update={"gpus_per_trial": gpus})
    needs = {"cpu": float(sweep.cpus_per_trial), **({"gpu": gpus} if gpus else {})}
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, sweep=settled, starts=starts, folder=os.getcwd()), needs
    )
    storage = sweep.storage or str(out / "tune")
    path = f"{storage.rstrip('/')}/{NAME}"
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable, resume_unfinished=True, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={key: domain.tunes for key, domain in space_of(sweep).items()},
            tune_config=_tune_config(sweep),
            run_config=tune.RunConfig(
                name=NAME,
                storage_path=storage,
                failure_config=tune.FailureConfig(max_failures=sweep.retries),
                # PBT copies weights from checkpoints that their own trials have already left behind.
                checkpoint_config=tune.CheckpointConfig(num_to_keep=None if scheduler.perturbs else 1),
                callbacks=[TrialWatch()],
                verbose=1 if sweep.verbose else 0,
            ),
        )
    tuner.fit()
    return tune.ExperimentAnalysis(path)


def _tune_config(sweep: SweepSettings) -> Any:
    from ray import tune

    metric = sweep.chosen_metric
    column = None if metric is None else metric.row.column[sweep.train]
    mode = None if metric is None else metric.row.mode
    random.seed(sweep.search_seed)  # what Ray Tune's schedulers draw from
    np.random.seed(sweep.search_seed)  # noqa: NPY002
    most = max(epochs_of(sweep, drawn) for drawn in sweep.possible)
    return tune.TuneConfig(
        search_alg=_search(sweep, column, mode),
        scheduler=sweep.chosen_scheduler.build(column, mode, most, space_of(sweep)),
        num_samples=1 if sweep.by == "grid" else sweep.trials or 1,
        max_concurrent_trials=sweep.concurrent,
        time_budget_s=None if sweep.hours is None else sweep.hours * 3600,
        trial_dirname_creator=_folder_name,
    )


def _folder_name(trial: Any) -> str:
    return str(trial.trial_id)


def _search(sweep: SweepSettings, column: str | None, mode: str | None) -> Any:
    if sweep.by == "optuna":
        from ray.tune.search.optuna import OptunaSearch

        return OptunaSearch(metric=column, mode=mode, seed=sweep.search_seed)
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return BasicVariantGenerator(random_state=sweep.search_seed)


def epochs_of(sweep: SweepSettings, drawn: Mapping[str, Any]) -> int:
    """How many epochs a trial with these settings takes."""
    settings = training_settings(sweep, drawn, Path("weights.safetensors"))
    return choose_recipe(settings, settings.objective.partition(":")[0]).recipe.epochs


def _warm_up(sweep: SweepSettings, out: Path, show: bool) -> dict[str, bytes]:
    """The weights that trials begin with, trained here where they are not there yet."""
    if sweep.warm_start is None:
        return {}
    trials = [training_settings(sweep, drawn, out / "weights.safetensors") for drawn in sweep.possible]
    needed = warm_starts(trials, sweep.warm_start, sweep, out / "warm")
    for settings in needed.values():
        train_denoiser(settings, show)
    return read_starts(needed)


def _certify_settings(sweep: SweepSettings, drawn: Mapping[str, Any], weights: Path) -> CertifySettings:
    """How a trial's weights are certified."""
    return checked(CertifySettings, _certified(sweep, training_settings(sweep, drawn, weights), str(weights)))


def _refuse_shared_images(training: Any, settings: CertifySettings) -> None:
    """Raises Refusal for test images that trials see."""
    test = open_dataset(settings.dataset, settings.data_root, settings.split, settings.resize, settings.crop)
    refuse_shared(training, test, settings.data_root, IndexSet(len(test), skip=settings.skip, max=settings.max).ids)


def _certified(sweep: SweepSettings, training: Any, weights: str) -> dict[str, Any]:
    """Settings of `raysmooth certify` for what a training gave."""
    names = ("dataset", "data_root", "resize", "crop", "sigma", "classifier", "preprocess")
    values = {name: getattr(training, name) for name in names}
    if sweep.train == "classifier":
        values["classifier_weights"] = weights
    else:
        values |= {"classifier_weights": training.classifier_weights}
        values |= {"denoiser": training.denoiser, "denoiser_weights": weights}
    pool = {"out": sweep.out, "address": sweep.address, "verbose": sweep.verbose}
    return {**values, **pool, **(sweep.certify or {})}


def _refuse_few_resources(sweep: SweepSettings, cpus: float, gpus: float, where: str) -> None:
    """Raises Refusal where not even one trial fits: Ray would wait for ever."""
    if sweep.cpus_per_trial > cpus:
        raise Refusal(
            f"cpus_per_trial: {sweep.cpus_per_trial} are more than the {cpus:g} CPU cores of {where}: write "
            f"cpus_per_trial: {int(cpus)}"
        )
    if (sweep.gpus_per_trial or 0) > gpus:
        instead = f"{int(gpus)}" if gpus >= 1 else "0"
        raise Refusal(
            f"gpus_per_trial: {sweep.gpus_per_trial:g} are more than the {gpus:g} GPUs of {where}: write "
            f"gpus_per_trial: {instead}"
        )


_MAY_CHANGE = ("address", "verbose", "concurrent", "cpus_per_trial", "gpus_per_trial", "certify", "hours", "retries")
"""Of a sweep that is continued: they change none of its trials. Ray Tune keeps the last two as they were."""


def _refuse_other_sweep(out: Path, sweep: SweepSettings) -> None:
    """Raises Refusal where another sweep is in the folder; leaves a note of which this is."""
    file = out / "sweep.json"
    told = json.loads(json.dumps(sweep.model_dump(exclude={*_MAY_CHANGE, "out"}), default=vars))
    if file.exists():
        before = json.loads(file.read_text())
        for key in told:
            if before.get(key) != told[key]:
                raise Refusal(
                    f"{out} holds another sweep, with {key} {json.dumps(before.get(key))[:60]}: write another 'out', "
                    "or delete the folder"
                )
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as partial:
            partial.write_text(json.dumps(told, indent=1))
    except OSError as error:
        raise Refusal(f"out: {out} cannot be written: {error.strerror}: write another folder") from error


_QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay what they were
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each training has its own metrics.csv and TensorBoard events
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C shall end the command, not only the trials
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "5",  # seconds of finished trials that a kill may cost
    "RAY_AIR_NEW_OUTPUT": "0",
}


@contextmanager
def _silent(verbose: bool) -> Iterator[None]:
    """Ray Tune's settings, and none of its chatter unless it is asked for."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO if verbose else logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
