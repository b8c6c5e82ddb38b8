"""What every training job does around its loss: folder, epochs, validation, and what is written down of each."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.distributed import all_gather_object, barrier

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.precision import InPrecision
from raysmooth.tune.recipes.recipe_choice import NamedRecipe
from raysmooth.tune.recipes.settings import TrainingSettings
from raysmooth.tune.training.card import circumstances, common_card, decisive
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.trainer import Loss, WorkerRank, Trainer
from raysmooth.tune.training.training_data import TrainingData
from raysmooth.tune.training.training_folder import Row, Saved, TrainingFolder


@dataclass(frozen=True)
class TrainingTask:
    """What is trained and how it is judged: all that differs from job to job.

    `weights` is the part of `network` that is saved, without normalisation; `card` tells of it in JSON values.
    `measure` judges the network on held-out images, larger is better for the metric named `best_by`; it is called
    after each epoch, by one worker, with the network in eval mode. `warnings` are for the person who asked.
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


class Observer(Protocol):
    """Somebody who looks at each epoch of a training; the first worker asks it, with the network in eval mode."""

    def measure(self, epoch: int) -> dict[str, float]:
        """More metrics of the epoch, from 1."""
        ...

    def written(self, row: Row, folder: Path) -> None:
        """The epoch's metrics are written down, and `folder` is what training can go on from."""
        ...


def run_training(
    settings: TrainingSettings,
    assignment: TrainingTask,
    share: WorkerRank,
    show: bool,
    observer: Observer | None = None,
) -> None:
    """Train to `settings.out`, or go on where the same training was stopped, or find it done.

    With `show`, progress goes to stderr. Raises RaysmoothError where another training's
    weights are, for a loss that is not finite, and for workers that do not see the same training.
    """
    common = common_card(settings, assignment.data, assignment.recipe, assignment.network.precision, assignment.best_by)
    card = {**common, **assignment.card}
    folder = TrainingFolder(Path(settings.out).expanduser(), decisive(card))
    if share.first:
        folder.open(settings.overwrite)
    try:
        if share.workers > 1:
            barrier()  # nobody reads what the first may be clearing away
        finished, saved = folder.finished(), folder.saved()
        if share.workers > 1:
            _refuse_disagreement(folder, finished, saved, share)
        if not finished:
            _epochs(settings, assignment, share, folder, card, saved, show, observer)
        if share.first:
            folder.finish(settings.keep)
    finally:
        if share.first:
            folder.close()


def _refuse_disagreement(folder: TrainingFolder, finished: bool, saved: Saved | None, share: WorkerRank) -> None:
    """Workers that train different things would average gradients that have nothing to do with each other."""
    mine = (folder.training, finished, 0 if saved is None else len(saved.rows))
    all_of_them: list[Any] = [None] * share.workers
    all_gather_object(all_of_them, mine)
    for rank, other in enumerate(all_of_them):
        if other != all_of_them[0]:
            raise RaysmoothError(
                f"worker {rank} does not see what worker 0 sees (data, weights, or the epochs in {folder.path}): give "
                "every machine the same files by the same absolute paths, and the same kind of device"
            )


def _epochs(
    settings: TrainingSettings,
    assignment: TrainingTask,
    share: WorkerRank,
    folder: TrainingFolder,
    told: Mapping[str, Any],
    saved: Saved | None,
    show: bool,
    observer: Observer | None,
) -> None:
    """Train what is left; the first worker writes it down."""
    recipe, network = assignment.recipe.recipe, assignment.network
    label = f"{told['architecture']} {told['objective']}"
    trainer = Trainer(
        network, assignment.loss, assignment.data.train, assignment.noise, recipe, settings.seed, label,
        assignment.chunks, share,
    )  # fmt: skip
    rows: list[Row] = []
    if saved is not None:
        trainer.load(saved.trainer)
        rows = saved.rows
    images = len(assignment.data.train)
    with EpochProgress(label, recipe.epochs, images, trainer.epochs_done, show and share.first) as progress:
        for warning in assignment.warnings:
            progress.note(f"raysmooth: warning: {warning}")
        if rows:
            progress.note(f"{label}: goes on after epoch {trainer.epochs_done} of {recipe.epochs}")
        while not trainer.finished:
            result = trainer.train_epoch(progress)
            if share.first:
                network.eval()
                metrics = assignment.measure() | (observer.measure(result.epoch) if observer is not None else {})
                best = all(metrics[assignment.best_by] > row[assignment.best_by] for row in rows)
                rows.append({**asdict(result), **metrics})
                run = circumstances(network, share.workers)
                card = {**told, "epochs_done": result.epoch, "metrics": metrics, "run": run}
                folder.keep(assignment.weights, card, trainer.state(), rows, best)
                if observer is not None:
                    observer.written(rows[-1], folder.path)
    network.eval()
