"""Training a base classifier: its loss and its metrics."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch

from raysmooth.actors.models.classifiers import build_classifier, default_preprocess
from raysmooth.actors.models.networks.input_size import NO_RESIZE, settled_input_size
from raysmooth.actors.models.own_callable import make_importable, source_digest
from raysmooth.actors.models.preprocess import input_layers
from raysmooth.actors.noise.families import NOISES
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.common.variant import Variant
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.data_dependent import SigmaSteps, read_data_dependent
from raysmooth.tune.objectives.objective import ClassifierObjective, describe, parse_objective
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.general import ImageSet
from raysmooth.tune.recipes.recipe_choice import NamedRecipe, choose_recipe, images_of, objective_text
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.training.networks import as_trained, start_from, try_out, try_training
from raysmooth.tune.training.task import TrainingTask
from raysmooth.tune.training.trainer import initialised
from raysmooth.tune.training.training_data import NO_LABEL, read_training_data
from raysmooth.tune.training.training_sigmas import TrainingSigmas
from raysmooth.tune.training.validation import accuracy, noisy_accuracy


def choose_for_classifier(
    settings: TrainClassifierSettings, images: Callable[[], ImageSet] | None = None
) -> tuple[NamedRecipe, str, ClassifierObjective]:
    """The recipe, the objective as text with all its options, and the objective; no file is opened. `images`: see
    `choose_recipe`.

    Raises RaysmoothError for unknown names, and for settings that do not fit together.
    """
    named = choose_recipe(settings, settings.objective.partition(":")[0], images)
    text = objective_text(settings.objective, CLASSIFIER_OBJECTIVES, named, settings.sigma)
    _, _, objective = parse_objective(text, CLASSIFIER_OBJECTIVES)
    _ = NOISES[settings.noise]
    if settings.sigma is None and objective.needs_noise:
        raise RaysmoothError(f"objective '{text}' trains on noisy images: write --sigma 0.25, say")
    if settings.sigma is None and settings.noise != "gaussian":
        raise RaysmoothError(f"--noise {settings.noise} without --sigma: write --sigma too, or leave both out")
    sigma_steps(settings, named, objective)
    return named, text, objective


def sigma_steps(
    settings: TrainClassifierSettings, named: NamedRecipe, objective: ClassifierObjective
) -> SigmaSteps | None:
    """How sigmas of the images' own move; None if all images have one sigma. Raises RaysmoothError as
    `read_data_dependent`, and for an objective without noise.
    """
    if settings.data_dependent is None:
        return None
    if settings.sigma is None or not objective.needs_noise:
        raise RaysmoothError(
            "--data-dependent is for objectives that train on noisy images: write --objective gaussian, say, or leave "
            "--data-dependent out"
        )
    return read_data_dependent(settings.data_dependent, settings.noise, settings.sigma, named.recipe.epochs)


def classifier_task(settings: TrainClassifierSettings, device: torch.device) -> TrainingTask:
    """The training of these settings; raises RaysmoothError for one that is impossible."""
    choose_for_classifier(settings)
    dataset = settings.open_dataset()
    named, text, objective = choose_for_classifier(settings, partial(images_of, settings, dataset))
    architecture = Variant.parse(settings.classifier)
    if settings.trust_code:
        make_importable()
    classifier = initialised(lambda: build_classifier(architecture, settings.trust_code), settings.seed)
    if not (isinstance(classifier, torch.nn.Module) and any(True for _ in classifier.parameters())):
        raise RaysmoothError(
            f"classifier '{architecture}' has no parameters to train: give a torch module with parameters"
        )
    start = start_from(classifier, settings)
    carded = None if start is None else start.card.get("preprocess")
    preprocess = settings.preprocess or carded or default_preprocess(architecture)
    carded_size = None if start is None else start.card.get("resizing")
    resizing = settled_input_size(settings.input_size, settings.interpolation, carded_size)
    data = read_training_data(settings, named.recipe.augment, device, dataset=dataset)
    model = torch.nn.Sequential(input_layers(resizing, preprocess), classifier).to(device)
    logits = try_out(model, data.train.first(), f"classifier '{architecture}'", architecture.is_own)
    _check_labels(data.train.labels, logits, settings, architecture)
    try_training(model, data.train.first(), f"classifier '{architecture}'")
    network = as_trained(model, settings, device, named.recipe, data.train)
    noise = TrainingNoise(settings.noise, settings.sigma or 0.0, device)
    steps = sigma_steps(settings, named, objective)
    sigmas = None
    if steps is not None:
        sigmas = TrainingSigmas(len(data.train), noise.sigma, steps, settings.noise, device)

    def labels_of(pixels: torch.Tensor) -> torch.Tensor:
        return network(pixels).argmax(dim=1)

    def loss(
        network: InPrecision, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int, step: int
    ) -> torch.Tensor:
        return objective(network, images, labels, noise, epoch)

    def measure() -> dict[str, float]:
        metrics = {"accuracy": accuracy(labels_of, data.held_out)}
        if settings.sigma is not None:
            metrics["noisy_accuracy"] = noisy_accuracy(labels_of, data.held_out, noise)
        return metrics

    trained_on = settings.sigma if objective.needs_noise else None
    card = {
        "architecture": str(architecture),
        "preprocess": preprocess,
        **({} if resizing == NO_RESIZE else {"resizing": resizing}),
        "objective": text,
        "options": describe(objective),
        "noise": None if trained_on is None else settings.noise,
        "sigma": trained_on,
        "data_dependent": None if steps is None else asdict(steps),
        "measured_at": None if settings.sigma is None else {"noise": settings.noise, "sigma": settings.sigma},
        "source": source_digest(architecture),
        "parents": {} if start is None else {"init_weights": start.fingerprint},
    }
    return TrainingTask(
        network=network,
        weights=classifier,
        loss=loss,
        chunks=objective.chunks,
        data=data,
        noise=noise,
        recipe=named,
        measure=measure,
        best_by="accuracy" if settings.sigma is None else "noisy_accuracy",
        card=card,
        warnings=_unused_classes(data.summary["classes"], logits.shape[-1], architecture),
        sigmas=sigmas,
    )


def _unused_classes(count: int | None, classes: int, architecture: Variant) -> tuple[str, ...]:
    """What to say where the network has classes that no image of the data belongs to."""
    if count is None or count >= classes:
        return ()
    return (
        f"the data has {counted(count, 'class')}, the network {classes}: no image is of the others; write "
        f"--classifier {architecture.name}:num_classes={count} unless the weights are for data that have them",
    )


def _check_labels(
    labels: torch.Tensor, logits: torch.Tensor, settings: TrainClassifierSettings, architecture: Variant
) -> None:
    where, classes, most = f"{settings.dataset} {settings.split}", logits.shape[-1], int(labels.max())
    if NO_LABEL in labels:
        raise RaysmoothError(f"{where} has images without a label: a classifier needs one for each")
    if most >= classes:
        raise RaysmoothError(
            f"classifier '{architecture}' has {counted(classes, 'class')}, {where} has labels up to {most}: "
            f"write --classifier {architecture.name}:num_classes={most + 1}"
        )
