"""A sweep: many trainings side by side by Ray Tune, the best of which is certified."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.pool.cluster import Cluster, connected, will_be_local
from raysmooth.pipeline.runs.driver import run_procedure
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.storage.store_urls import refuse_url
from raysmooth.tune.recipes.settings import TrainingDataSettings
from raysmooth.tune.sweeps.folder import below, refuse_other_sweep, storage_of
from raysmooth.tune.sweeps.progress import SweepProgress, watched_by
from raysmooth.tune.sweeps.settings import SweepSettings, training_settings
from raysmooth.tune.sweeps.trial_check import refuse_impossible_trials
from raysmooth.tune.sweeps.trials import Trial, Winner, collect, winner_of, write_trials
from raysmooth.tune.sweeps.tuner import run_trials, silent
from raysmooth.tune.sweeps.validation_certificates import refuse_shared
from raysmooth.tune.sweeps.warm_starts import FOLDER as WARM
from raysmooth.tune.sweeps.warm_starts import starts_of, warm_sweep


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
    ones are tried again. Raises RaysmoothError, before Ray starts, for what cannot be carried out.
    """
    refuse_url(sweep.out, "out:")
    out = Path(sweep.out).expanduser().absolute()
    if sweep.certify is not None:
        _refuse_shared_images(sweep)
    if will_be_local(sweep.address):
        for wanted, has, instead in _lacking(sweep, os.cpu_count() or 1, torch.cuda.device_count()):
            raise RaysmoothError(f"{wanted} is more than the {has} of this machine: write {instead}")
    warm = None if sweep.warm_start is None else warm_sweep(sweep, sweep.warm_start)
    for each in (warm, sweep):
        if each is not None:
            refuse_impossible_trials(each)
    storage = storage_of(sweep, out)
    refuse_other_sweep(out, sweep)
    with silent(sweep.verbose), connected(sweep.address, sweep.verbose) as cluster:
        trials_of = partial(_trials_of, cluster=cluster, show=show)
        starts: Mapping[str, bytes] = {}
        if warm is not None:
            starts = starts_of(warm, trials_of(warm, out / WARM, below(storage, WARM), {}, "warm start"))
        trials = trials_of(sweep, out, storage, starts, "sweep")
        rows = write_trials(trials, sweep, out)
        winner = winner_of(rows, sweep, trials)
        certificates = None
        if sweep.certify is not None:
            chosen = [trial for trial in trials if sweep.certify_all or (winner and trial.trial_id == winner.trial_id)]
            jobs = [_certify_settings(sweep, trial.drawn, trial.weights) for trial in chosen if trial.weights]
            certificates = run_procedure(PROCEDURES["certify"], jobs, show) if jobs else None
    return SweepResult(rows, winner, certificates)


def _trials_of(
    sweep: SweepSettings, out: Path, storage: str, starts: Mapping[str, bytes], label: str, cluster: Cluster, show: bool
) -> list[Trial]:
    """Run all that is missing; trials' weights go below `out`."""
    with SweepProgress(sweep, show, label) as progress, watched_by(progress):
        for wanted, has, _ in _lacking(sweep, cluster.cpus, cluster.gpus):
            progress.note(f"{wanted} is more than the {has} of the cluster: trials wait for it to grow")
        analysis = run_trials(sweep, storage, cluster.gpus > 0, starts)
    return collect(analysis, out)


def _certify_settings(sweep: SweepSettings, drawn: Mapping[str, Any], weights: Path) -> CertifySettings:
    """How a trial's weights are certified."""
    return checked(CertifySettings, _certified(sweep, training_settings(sweep, drawn, weights), str(weights)))


def _refuse_shared_images(sweep: SweepSettings) -> None:
    """Raises RaysmoothError for test images that trials see."""
    seen = set()
    for drawn in sweep.possible:
        training = training_settings(sweep, {**drawn, "seed": sweep.seeds[0]}, Path("weights.safetensors"))
        images = training.model_dump_json(include=set(TrainingDataSettings.model_fields))
        if images in seen:
            continue
        seen.add(images)
        test = checked(CertifySettings, _certified(sweep, training, training.out))
        dataset = open_dataset(test.dataset, test.data_root, test.split, test.resize, test.crop)
        ids = IndexSet(len(dataset), skip=test.skip, max=test.max).ids
        refuse_shared(training, dataset, test.data_root, ids)


def _certified(sweep: SweepSettings, training: Any, weights: str) -> dict[str, Any]:
    """Settings of `raysmooth certify` for what a training gave."""
    names = ("dataset", "data_root", "resize", "crop", "noise", "sigma", "classifier", "preprocess")
    values = {name: getattr(training, name) for name in names}
    if sweep.train == "classifier":
        values["classifier_weights"] = weights
    else:
        values |= {"classifier_weights": training.classifier_weights}
        values |= {"denoiser": training.denoiser, "denoiser_weights": weights}
    pool = {"out": sweep.out, "address": sweep.address, "verbose": sweep.verbose}
    return {**values, **pool, **(sweep.certify or {})}


def _lacking(sweep: SweepSettings, cpus: float, gpus: float) -> Iterator[tuple[str, str, str]]:
    """What a trial needs more of than there is: the setting, what it lacks in words, and what would fit."""
    if sweep.cpus_per_trial > cpus:
        yield f"cpus_per_trial: {sweep.cpus_per_trial}", f"{cpus:g} CPU cores", f"cpus_per_trial: {int(cpus)}"
    if (sweep.gpus_per_trial or 0) > gpus:
        yield f"gpus_per_trial: {sweep.gpus_per_trial:g}", f"{gpus:g} GPUs", f"gpus_per_trial: {int(gpus)}"
