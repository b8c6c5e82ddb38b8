"""A sweep: many trainings run by Ray Tune; the best one is certified."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from raysmooth.actors.noise.pixel_scale import scale_notes
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.data.dataset import Dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.summary import described, summarised
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.progress.progress_bars import Display
from raysmooth.pipeline.ray_cluster.cluster import Cluster, connected
from raysmooth.pipeline.ray_cluster.ray_address import will_be_local
from raysmooth.pipeline.runs.data_settings import READING
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.storage.store_urls import refuse_url
from raysmooth.tune.recipes.recipe_choice import NamedRecipe, choose_recipe, images_of
from raysmooth.tune.recipes.settings import TrainingDataSettings
from raysmooth.tune.sweeps.folder import below, refuse_other_sweep, storage_of
from raysmooth.tune.sweeps.progress import SweepProgress, observed_by
from raysmooth.tune.sweeps.settings import SweepSettings, training_settings
from raysmooth.tune.sweeps.trial_check import refuse_impossible_trials
from raysmooth.tune.sweeps.trials import Trial, Winner, collect, winner_of, write_trials
from raysmooth.tune.sweeps.tuner import quiet, run_trials
from raysmooth.tune.sweeps.validation_certificates import refuse_shared
from raysmooth.tune.sweeps.warm_starts import FOLDER as WARM
from raysmooth.tune.sweeps.warm_starts import starts_of, warm_sweep


@dataclass(frozen=True)
class SweepResult:
    """`trials` has a row for each trial and epoch; `winner` is None without a metric, or if no trial was validated;
    `certificates` are the rows of the winner, or of all trials with `certify_all`, None without `certify`.
    """

    trials: pd.DataFrame
    winner: Winner | None
    certificates: pd.DataFrame | None


def run_sweep(sweep: SweepSettings, show: bool = True) -> SweepResult:
    """Run the trials of `sweep` that are not finished, write their results, and certify the winner.

    The same sweep again resumes: finished trials are kept, unfinished ones resume from their last validated epoch,
    failed ones are retried. Raises RaysmoothError, before Ray starts, for a sweep that cannot be run.
    """
    refuse_url(sweep.out, "out:")
    out = Path(sweep.out).expanduser().absolute()
    if sweep.certify is not None:
        _refuse_shared_images(sweep)
    if will_be_local(sweep.address):
        for wanted, available, instead in _lacking(sweep, os.cpu_count() or 1, torch.cuda.device_count()):
            raise RaysmoothError(f"{wanted} is more than the {available} of this machine: write {instead}")
    warm = None if sweep.warm_start is None else warm_sweep(sweep, sweep.warm_start)
    if warm is not None:
        refuse_impossible_trials(warm)
    refuse_impossible_trials(sweep)
    said = list(_said_of_data(sweep))
    storage = storage_of(sweep, out)
    refuse_other_sweep(out, sweep)
    with quiet(sweep.verbose), connected(sweep.address, sweep.verbose, Display(show).note) as cluster:
        trials_of = partial(_trials_of, cluster=cluster, show=show)
        starts: Mapping[str, bytes] = {}
        if warm is not None:
            starts = starts_of(warm, trials_of(warm, out / WARM, below(storage, WARM), {}, "warm start"))
        trials = trials_of(sweep, out, storage, starts, "sweep", said)
        rows = write_trials(trials, sweep, out)
        winner = winner_of(rows, sweep, trials)
        certificates = None
        if sweep.certify is not None:
            chosen = [trial for trial in trials if sweep.certify_all or (winner and trial.trial_id == winner.trial_id)]
            settings = [_certify_settings(sweep, trial.config, trial.weights) for trial in chosen if trial.weights]
            certificates = run_procedure(PROCEDURES["certify"], settings, show) if settings else None
    return SweepResult(rows, winner, certificates)


def _trials_of(
    sweep: SweepSettings,
    out: Path,
    storage: str,
    starts: Mapping[str, bytes],
    label: str,
    said: Sequence[str] = (),
    *,
    cluster: Cluster,
    show: bool,
) -> list[Trial]:
    """Run the trials that are not finished; the weights of all go below `out`. `said` is noted first."""
    with SweepProgress(sweep, show, label) as progress, observed_by(progress):
        for line in said:
            progress.note(f"raysmooth: {line}")
        for wanted, available, _ in _lacking(sweep, cluster.cpus, cluster.gpus):
            progress.note(f"{wanted} is more than the {available} of the cluster: trials wait for it to grow")
        analysis = run_trials(sweep, storage, cluster.gpus > 0, starts)
    return collect(analysis, out)


def _certify_settings(sweep: SweepSettings, config: Mapping[str, Any], weights: Path) -> CertifySettings:
    """Settings to certify the weights of the trial with `config`."""
    return checked(CertifySettings, _certify_values(sweep, training_settings(sweep, config, weights), str(weights)))


def _refuse_shared_images(sweep: SweepSettings) -> None:
    """Raises RaysmoothError if trials see images that the winner is certified on."""
    for training in _distinct_data(sweep):
        test = checked(CertifySettings, _certify_values(sweep, training, training.out))
        dataset = test.open_dataset()
        ids = IndexSet(len(dataset), **test.chosen_images).ids
        refuse_shared(training, dataset, test.data_root, ids)


def _distinct_data(sweep: SweepSettings) -> Iterator[Any]:
    """Settings of trainings, one for each choice of images in the sweep."""
    seen = set()
    for config in sweep.trial_configs:
        training = training_settings(sweep, {**config, "seed": sweep.seeds[0]}, Path("weights.safetensors"))
        images = training.model_dump_json(include=set(TrainingDataSettings.model_fields))
        if images not in seen:
            seen.add(images)
            yield training


def _said_of_data(sweep: SweepSettings) -> Iterator[str]:
    """The lines about the images that trials train on."""
    for training in _distinct_data(sweep):
        dataset = training.open_dataset()
        index_set = IndexSet(len(dataset), skip=training.skip, max=training.max)
        summary = summarised(dataset, index_set.describe(), dataset.values(index_set.ids[0]).shape[1:])
        yield described(summary)
        yield from (f"warning: {note}" for note in summary["notes"])
        yield from dict.fromkeys(filter(None, (named.short_note for named in _recipes(sweep, training, dataset))))
    sigmas = {sweep.values(config).get("sigma") or 0.0 for config in sweep.trial_configs}
    yield from (f"warning: {note}" for note in scale_notes(*sorted(sigmas)))


def _recipes(sweep: SweepSettings, training: Any, dataset: Dataset) -> Iterator[NamedRecipe]:
    """The recipes of the trials, where they train on the images of `training`."""
    for config in sweep.trial_configs:
        settings = training_settings(sweep, config, Path("weights.safetensors"))
        if all(getattr(settings, name) == getattr(training, name) for name in TrainingDataSettings.model_fields):
            objective = settings.objective.partition(":")[0]
            yield choose_recipe(settings, objective, partial(images_of, settings, dataset))


_NETWORKS = ("classifier_weights", "denoiser", "denoiser_weights", "rejector", "rejector_weights")
"""Settings of `raysmooth certify` that name what a trained network is certified with, as far as a training has them."""


def _certify_values(sweep: SweepSettings, training: Any, weights: str) -> dict[str, Any]:
    """Settings of `raysmooth certify` for the weights of a training."""
    networks = ("classifier", "preprocess", "input_size", "interpolation", "trust_code")
    names = ("dataset", "data_root", *READING, "noise", "sigma", *networks)
    values = {name: getattr(training, name) for name in names}
    behind = [name for name in _NETWORKS if name in type(training).model_fields]
    values |= {name: getattr(training, name) for name in behind} | {f"{sweep.train}_weights": weights}
    pool = {"out": sweep.out, "address": sweep.address, "verbose": sweep.verbose}
    return {**values, **pool, **(sweep.certify or {})}


def _lacking(sweep: SweepSettings, cpus: float, gpus: float) -> Iterator[tuple[str, str, str]]:
    """Resources of which a trial needs more than is available: the setting, what is available, what to write."""
    if sweep.cpus_per_trial > cpus:
        yield f"cpus_per_trial: {sweep.cpus_per_trial}", f"{cpus:g} CPU cores", f"cpus_per_trial: {int(cpus)}"
    if (sweep.gpus_per_trial or 0) > gpus:
        yield f"gpus_per_trial: {sweep.gpus_per_trial:g}", f"{gpus:g} GPUs", f"gpus_per_trial: {int(gpus)}"
