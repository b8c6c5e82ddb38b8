"""One trial of a sweep: a training that reports its metric every few epochs, with a checkpoint to resume from."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.networks.input_size import NO_RESIZE
from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.preprocess import input_layers
from raysmooth.actors.models.rejection_rules import NetworkRejector
from raysmooth.actors.noise.families import noise_family
from raysmooth.tune.recipes.settings import (
    TrainClassifierSettings,
    TrainDenoiserSettings,
    TrainingSettings,
    TrainRejectorSettings,
)
from raysmooth.tune.sweeps.settings import SweepSettings, training_settings
from raysmooth.tune.sweeps.validation_certificates import certified_metrics, certify_validation, validation_set
from raysmooth.tune.sweeps.warm_starts import warm_start_key
from raysmooth.tune.training.task import TrainingTask, run_training
from raysmooth.tune.training.trainer import WorkerRank
from raysmooth.tune.training.training_folder import Row, folder_of
from raysmooth.tune.training.trainings import TRAININGS
from raysmooth.tune.training.validation import held_out_loss

Judge = Callable[[], dict[str, float]]


def run_trial(config: dict[str, Any], sweep: SweepSettings, starts: Mapping[str, bytes], folder: str) -> None:
    """Train with the trial's `config`, in a process of Ray Tune's. `starts` are the weights files to start from, by
    `warm_start_key`; `folder` is the one that the sweep's relative paths refer to.

    Every `validation.every` epochs, and after the last, the metrics go to Ray Tune with a checkpoint: the training's
    folder. A trial that was killed, or that copies another's weights, resumes from a checkpoint.
    """
    from ray import tune

    if os.path.isdir(folder):
        os.chdir(folder)
    torch.set_num_threads(sweep.cpus_per_trial)
    device = torch.device("cuda" if sweep.gpus_per_trial else "cpu")
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "weights.safetensors"
        fetch(tune.get_checkpoint(), folder_of(out), sweep.chosen_scheduler.entry.perturbs)
        settings = training_settings(sweep, config, out)
        if sweep.warm_start is not None:
            start = Path(scratch) / "start.safetensors"
            start.write_bytes(starts[warm_start_key(settings)])
            settings = settings.model_copy(update={"init_weights": str(start)})
        task = TRAININGS[sweep.train].task(settings, device)
        reporter = _Reporter(sweep.validation.every, task.recipe.recipe.epochs, _judge(sweep, settings, task, device))
        run_training(settings, task, WorkerRank(), show=False, observer=reporter)


def fetch(checkpoint: Any, training: Path, perturbs: bool) -> None:
    """Copy what a trial resumes from, if there is anything, to the folder of its `training`.

    Ray Tune keeps one checkpoint of a trial, and saves its own state every few seconds: after a kill that state may
    name a checkpoint that a newer one has replaced. The training then begins again, with the same result. Under a
    scheduler that `perturbs`, all checkpoints are kept, and one may be another trial's, of other settings.
    """
    if checkpoint is None:
        return
    try:
        checkpoint.to_directory(str(training))
    except FileNotFoundError:
        if perturbs:
            raise
        shutil.rmtree(training, ignore_errors=True)
    if perturbs:
        (training / "training.json").unlink(missing_ok=True)


@dataclass(frozen=True)
class _Reporter:
    """Judges the network every `every` epochs, and after the last of `epochs`, and reports to Ray Tune."""

    every: int
    epochs: int
    judge: Judge

    def measure(self, epoch: int) -> dict[str, float]:
        return self.judge() if self._is_validated(epoch) else {}

    def written(self, row: Row, folder: Path) -> None:
        from ray import tune

        epoch = int(row["epoch"])
        if self._is_validated(epoch):
            metrics = {**row, "epoch": epoch, "epochs": self.epochs}
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(str(folder)))

    def _is_validated(self, epoch: int) -> bool:
        return epoch % self.every == 0 or epoch == self.epochs


def _judge(sweep: SweepSettings, settings: TrainingSettings, task: TrainingTask, device: torch.device) -> Judge:
    """A function that measures the sweep's metric, as far as trainings do not measure it anyway."""
    metric = sweep.chosen_metric
    if metric is not None and metric.name == "validation_loss":
        return lambda: {
            "validation_loss": held_out_loss(
                task.network,
                task.loss,
                task.data.held_out,
                task.noise,
                task.recipe.recipe.epochs,
            )
        }
    if metric is None or not metric.entry.certifies:
        return dict
    images = validation_set(settings, sweep.validation.images)
    model = _as_certified(settings, task, device)
    assert isinstance(settings, TrainClassifierSettings | TrainDenoiserSettings | TrainRejectorSettings)
    assert settings.sigma is not None, "refused by SweepSettings"
    noise = noise_family(settings.noise, settings.sigma)

    def certify() -> dict[str, float]:
        rows = certify_validation(model.eval(), images, sweep.validation, noise, device)
        return certified_metrics(rows, metric.radius)

    return certify


def _as_certified(settings: TrainingSettings, task: TrainingTask, device: torch.device) -> DenoisedClassifier:
    """The base classifier of the network in training; it uses the same parameters."""
    if isinstance(settings, TrainClassifierSettings):
        resizing = str(task.card.get("resizing", NO_RESIZE))
        normalize = input_layers(resizing, str(task.card["preprocess"])).to(device)
        return DenoisedClassifier(None, normalize, task.weights)
    assert isinstance(settings, TrainDenoiserSettings | TrainRejectorSettings)
    assert settings.classifier is not None
    behind = BaseClassifierSpec(
        settings.classifier,
        settings.classifier_weights,
        settings.preprocess,
        import_path=(os.getcwd(),),
        trust_code=settings.trust_code,
        input_size=settings.input_size,
        interpolation=settings.interpolation,
    )
    if isinstance(settings, TrainRejectorSettings):
        behind = replace(behind, denoiser=settings.denoiser, denoiser_weights=settings.denoiser_weights)
        assert isinstance(task.weights, RejectorNetwork)
        frozen = load_base_classifier(behind, device).model
        return DenoisedClassifier(frozen.denoiser, frozen.normalize, frozen.classifier, NetworkRejector(task.weights))
    protected = load_base_classifier(behind, device).model
    return DenoisedClassifier(task.weights, protected.normalize, protected.classifier)
