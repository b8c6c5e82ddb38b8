"""What every training job does around its loss: recipe, folder, epochs, validation, card, last line."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed import barrier

from actors.architecture import Option
from actors.refusal import Refusal
from pipeline.datasets import DATASETS
from tune.noise import NOISE_FAMILIES, TrainingNoise
from tune.objective import with_defaults
from tune.phases import Phase, parse_phases
from tune.precision import InPrecision
from tune.progress import EpochProgress
from tune.recipes import RECIPES, Recipe, default_recipe, published_options
from tune.settings import TrainingJobSettings
from tune.trainer import Loss, Share, Trainer
from tune.training_data import TrainingData
from tune.training_folder import Row, TrainingFolder

CARD_FORMAT = 2


@dataclass(frozen=True)
class NamedRecipe:
    """A row of `RECIPES` with the settings' own values in it."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Assignment:
    """What is trained and how it is judged: all that differs from job to job.

    `weights` is the part of `network` that is saved, without normalisation; `card` tells of it in JSON values.
    `measure` judges the network on held-out images, larger is better for the metric named `best_by`; it is called
    after each epoch, by one worker, with the network in eval mode.
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


def choose_recipe(settings: TrainingJobSettings, kind: str) -> NamedRecipe:
    """The recipe the settings name, else the default for `kind`, an objective.

    Raises Refusal for an unknown one, or data set, and for values that do not say which phase they are for.
    """
    _ = DATASETS[settings.dataset]  # an unknown one is refused as such, not for its lack of a recipe
    name = settings.recipe or default_recipe(settings.dataset, kind)
    recipe = RECIPES[name]
    if settings.phases is not None:
        recipe = replace(recipe, phases=parse_phases(settings.phases))
    if settings.epochs is not None:
        recipe = recipe.stretched(settings.epochs)
    own_phase = {
        field.name: value
        for field in fields(Phase)
        if field.name != "epochs" and (value := getattr(settings, field.name, None)) is not None
    }
    if own_phase and len(recipe.phases) > 1:
        flag = next(iter(own_phase)).replace("_", "-")
        raise Refusal(
            f"--{flag}: recipe {name} has {len(recipe.phases)} phases, one after the other: write them as --phases "
            "'adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100', say"
        )
    own = {
        field.name: value
        for field in fields(Recipe)
        if field.name != "phases" and (value := getattr(settings, field.name, None)) is not None
    }
    # At once: what one value alone would not fit, such as no momentum for nesterov, another may make right.
    own["phases"] = tuple(replace(phase, **own_phase) for phase in recipe.phases)
    return NamedRecipe(name, replace(recipe, **own))


def objective_text(settings: TrainingJobSettings, objective: str, named: NamedRecipe, sigma: float | None) -> str:
    """`objective` as written, with what its source trained with at this sigma where nothing is said."""
    known: dict[str, Option] = published_options(named.name, objective.partition(":")[0], sigma, named.recipe.epochs)
    return with_defaults(objective, known)


def check_noise_family(settings: TrainingJobSettings) -> None:
    """Raises Refusal for an unknown one."""
    _ = NOISE_FAMILIES[settings.noise]


def carry_out(settings: TrainingJobSettings, assignment: Assignment, share: Share, show: bool) -> None:
    """Train to `settings.out`, or go on where the same training was stopped, or find it done.

    With `show`, progress goes to stderr. Raises Refusal where another training's weights are, and for a loss that is
    not finite.
    """
    decisive = {**_common_card(settings, assignment), **assignment.card}
    training = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    folder = TrainingFolder(Path(settings.out).expanduser(), training, decisive)
    if share.first:
        folder.open(settings.overwrite)
    try:
        if share.workers > 1:
            barrier()  # nobody reads what the first may be clearing away
        if not folder.finished():
            _epochs(settings, assignment, share, folder, decisive, show)
        if share.first:
            folder.finish(settings.keep)
    finally:
        if share.first:
            folder.close()


def _epochs(
    settings: TrainingJobSettings,
    assignment: Assignment,
    share: Share,
    folder: TrainingFolder,
    decisive: Mapping[str, Any],
    show: bool,
) -> None:
    """Train what is left; the first worker writes it down."""
    recipe, network = assignment.recipe.recipe, assignment.network
    label = f"{decisive['architecture']} {decisive['objective']}"
    trainer = Trainer(
        network, assignment.loss, assignment.data.train, assignment.noise, recipe, settings.seed, label,
        assignment.chunks, share,
    )  # fmt: skip
    rows: list[Row] = []
    if (saved := folder.saved()) is not None:
        trainer.load(saved.trainer)
        rows = saved.rows
    images = len(assignment.data.train)
    with EpochProgress(label, recipe.epochs, images, trainer.epochs_done, show and share.first) as progress:
        if rows:
            progress.note(f"{label}: goes on after epoch {trainer.epochs_done} of {recipe.epochs}")
        while not trainer.finished:
            result = trainer.train_epoch(progress)
            if share.first:
                network.eval()
                metrics = assignment.measure()
                best = all(metrics[assignment.best_by] > row[assignment.best_by] for row in rows)
                rows.append({**asdict(result), **metrics})
                card = {**decisive, "epochs_done": result.epoch, "metrics": metrics, "run": _run(network, share)}
                folder.keep(assignment.weights, card, trainer.state(), rows, best)
    network.eval()


def _common_card(settings: TrainingJobSettings, assignment: Assignment) -> dict[str, Any]:
    """What decides a training of any kind."""
    data, recipe = assignment.data, assignment.recipe
    return {
        "raysmooth_format": CARD_FORMAT,
        "dataset": settings.dataset,
        "split": settings.split,
        "data": {
            "fingerprint": data.fingerprint,
            "fingerprint_of": data.fingerprint_of,
            "skip": settings.skip,
            "max": settings.max,
            "images": len(data.train),
            "held_out": len(data.held_out),
        },
        "recipe": {"name": recipe.name, **asdict(recipe.recipe), "epochs": recipe.recipe.epochs},
        "seed": settings.seed,
        "precision": assignment.network.precision,
        "compile": settings.compile,
        "best_by": assignment.best_by,
    }


def _run(network: InPrecision, share: Share) -> dict[str, Any]:
    """Circumstances, which do not decide a training but for the order of its sums."""
    device = next(network.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "workers": share.workers, "torch": torch.__version__}


def summary(card: Mapping[str, Any], seconds: float, out: Path) -> str:
    """One line: what was trained, what it measures, where it is."""
    noise = "" if card["sigma"] is None else f" at sigma {card['sigma']:g}"
    if card["noise"] not in (None, "gaussian"):
        noise = f" with {card['noise']} noise{noise}"
    measured = ", ".join(
        f"{name.replace('_', ' ')} {_readable(name, value)}" for name, value in card["metrics"].items()
    )
    return f"{card['architecture']}, {card['objective']}{noise}: {measured} on held-out images; {seconds:.0f} s; {out}"


def _readable(name: str, value: float) -> str:
    return f"{value:.1%}" if name.endswith("accuracy") else f"{value:.2f} dB"


def check_out(text: str) -> Path:
    """The weights file that a text means; raises Refusal for one that cannot be written."""
    out = Path(text).expanduser()
    if out.suffix != ".safetensors" or out.is_dir():
        raise Refusal(f"--out {text}: write the path of a file that ends in .safetensors")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"--out {text}: folder {out.parent} cannot be made: {error.strerror or error}") from error
    if not os.access(out.parent, os.W_OK):
        raise Refusal(f"--out {text}: folder {out.parent} is not writable: write another path")
    return out


def check_device(text: str) -> torch.device:
    """The device that a text means; raises Refusal for one that is not there."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise Refusal(f"unknown device '{text}': write auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refusal(f"--device {text}: torch sees {torch.cuda.device_count()} GPUs here: write --device auto")
    return device
