"""What every training does around its loss: folder, epochs, validation, and the record of each epoch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.distributed import all_gather_object, barrier

from raysmooth.actors.noise.pixel_scale import scale_notes
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.summary import described
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.recipe_choice import NamedRecipe
from raysmooth.tune.recipes.settings import TrainingSettings
from raysmooth.tune.training.card import common_card, environment, identity_of
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.trainer import Loss, Trainer, WorkerRank
from raysmooth.tune.training.training_data import TrainingData
from raysmooth.tune.training.training_folder import Row, Saved, TrainingFolder
from raysmooth.tune.training.training_sigmas import TrainingSigmas


@dataclass(frozen=True)
class TrainingTask:
    """The network to train and how it is judged: all that differs between trainings.

    `weights` is the part of `network` that is saved, without normalisation; `card` describes it in JSON values.
    `measure` judges the network on held-out images; the metric `best_by` is better when larger. The first worker
    calls it after each epoch, with the network in eval mode. `warnings` are printed when training starts. `sigmas` are
    those of the training images, where each has its own.
    """

    network: InPrecision
    weights: torch.nn.Module
    loss: Loss
    chunks: int
    data: TrainingData
    noise: TrainingNoise
    recipe: NamedRecipe
    measure: Callable[[], dict[str, float]]
    best_by: str
    card: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    sigmas: TrainingSigmas | None = None


class Observer(Protocol):
    """Follows a training epoch by epoch. The first worker calls it, with the network in eval mode."""

    def measure(self, epoch: int) -> dict[str, float]:
        """More metrics of the epoch, from 1."""
        ...

    def written(self, row: Row, folder: Path) -> None:
        """Called when the epoch's metrics are on disk; training can resume from `folder`."""
        ...


def run_training(
    settings: TrainingSettings,
    task: TrainingTask,
    worker: WorkerRank,
    show: bool,
    observer: Observer | None = None,
) -> None:
    """Train to `settings.out`; resume the same training if it was stopped, return at once if it is finished.

    With `show`, progress goes to stderr. Raises RaysmoothError where `settings.out` holds another training, for a loss
    that is not finite, and for workers that do not see the same data, weights and epochs.
    """
    card = {**common_card(settings, task.data, task.recipe, task.network, task.best_by), **task.card}
    folder = TrainingFolder(Path(settings.out).expanduser(), identity_of(card))
    if worker.first:
        folder.open(settings.overwrite)
    try:
        if worker.world_size > 1:
            barrier()  # the others read only after the first has cleared the folder
        finished, saved = folder.finished(), folder.saved()
        if worker.world_size > 1:
            _refuse_disagreement(folder, finished, saved, worker)
        if not finished:
            _epochs(settings, task, worker, folder, card, saved, show, observer)
        if worker.first:
            folder.finish(settings.keep)
    finally:
        if worker.first:
            folder.close()


def _refuse_disagreement(folder: TrainingFolder, finished: bool, saved: Saved | None, worker: WorkerRank) -> None:
    """Workers with different trainings would average unrelated gradients."""
    mine = (folder.training, finished, 0 if saved is None else len(saved.rows))
    all_of_them: list[Any] = [None] * worker.world_size
    all_gather_object(all_of_them, mine)
    for rank, other in enumerate(all_of_them):
        if other != all_of_them[0]:
            raise RaysmoothError(
                f"worker {rank} does not see what worker 0 sees (data, weights, or the epochs in {folder.path}): give "
                "every machine the same files by the same absolute paths, the same kind of device, and, for "
                "--compile auto, a C++ compiler or none"
            )


def _epochs(
    settings: TrainingSettings,
    task: TrainingTask,
    worker: WorkerRank,
    folder: TrainingFolder,
    card: Mapping[str, Any],
    saved: Saved | None,
    show: bool,
    observer: Observer | None,
) -> None:
    """Train the remaining epochs; the first worker records them."""
    recipe, network = task.recipe.recipe, task.network
    label = f"{card['architecture']} {card['objective']}"
    trainer = Trainer(
        network, task.loss, task.data.train, task.noise, recipe, settings.seed, label, task.chunks, worker, task.sigmas
    )
    rows: list[Row] = []
    if saved is not None:
        try:
            trainer.load(saved.trainer)
        except Exception as error:  # torch has many for tensors and numbers that do not fit
            raise folder.unusable_state() from error
        if not all(task.best_by in row for row in saved.rows):
            raise folder.unusable_state()
        rows = saved.rows
    images = len(task.data.train)
    with EpochProgress(label, recipe.epochs, images, trainer.epochs_done, show and worker.first) as progress:
        progress.note(f"raysmooth: {described({**task.data.summary, 'preprocess': card.get('preprocess')})}")
        if task.recipe.note is not None:
            progress.note(f"raysmooth: {task.recipe.note}")
        for warning in (*task.data.summary["notes"], *scale_notes(task.noise.sigma), *task.warnings):
            progress.note(f"raysmooth: warning: {warning}")
        if rows:
            progress.note(f"{label}: resumes after epoch {trainer.epochs_done} of {recipe.epochs}")
        while not trainer.finished:
            result = trainer.train_epoch(progress)
            if worker.first:
                task.data.refuse_altered()
                network.eval()
                metrics = task.measure() | (observer.measure(result.epoch) if observer is not None else {})
                best = all(metrics[task.best_by] > row[task.best_by] for row in rows)
                sigmas = {} if task.sigmas is None else task.sigmas.metrics()
                rows.append({**asdict(result), **sigmas, **metrics})
                epoch_card = {
                    **card,
                    "epochs_done": result.epoch,
                    "metrics": metrics,
                    **({"image_sigmas": sigmas} if sigmas else {}),
                    "run": environment(network, worker.world_size),
                    "data_summary": dict(task.data.summary),
                }
                folder.keep(task.weights, epoch_card, trainer.state(), rows, best)
                if observer is not None:
                    observer.written(rows[-1], folder.path)
    network.eval()
