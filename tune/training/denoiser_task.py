"""Training a denoiser for a frozen classifier: its loss and its metrics."""

import os
from collections.abc import Callable
from functools import cache, partial

import torch

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.denoisers import build_denoiser, fit_channels
from raysmooth.actors.models.loading import Loaded, load_base_classifier
from raysmooth.actors.noise.families import NOISES
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.common.variant import Variant
from raysmooth.pipeline.runs.settings import refuse_without_classifier
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.objective import DenoiserObjective, ObjectiveEntry, describe, parse_objective
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.general import ImageSet
from raysmooth.tune.recipes.recipe_choice import NamedRecipe, choose_recipe, images_of
from raysmooth.tune.recipes.settings import TrainDenoiserSettings
from raysmooth.tune.training.card import parent_of
from raysmooth.tune.training.networks import as_trained, other_noise, start_from, try_out
from raysmooth.tune.training.surrogates import load_surrogates
from raysmooth.tune.training.task import TrainingTask
from raysmooth.tune.training.trainer import initialised
from raysmooth.tune.training.training_data import NO_LABEL, read_training_data
from raysmooth.tune.training.validation import judge_denoiser, noisy_accuracy


def choose_for_denoiser(
    settings: TrainDenoiserSettings, images: Callable[[], ImageSet] | None = None
) -> tuple[NamedRecipe, str, ObjectiveEntry[DenoiserObjective], DenoiserObjective]:
    """The recipe, and the objective's name, registry entry and instance; no file is opened. `images`: see
    `choose_recipe`.

    Raises RaysmoothError for unknown names, and for settings that do not fit together.
    """
    name, entry, objective = parse_objective(settings.objective, DENOISER_OBJECTIVES)
    _check_classifiers(settings, name, entry.starts_from, objective.needs_classifier)
    _ = NOISES[settings.noise]
    return choose_recipe(settings, name, images), name, entry, objective


def denoiser_task(settings: TrainDenoiserSettings, device: torch.device) -> TrainingTask:
    """The training of these settings; raises RaysmoothError for one that is impossible.

    With surrogates, access is black-box: batch i is trained through surrogate i modulo their number, and the
    classifier, if given, is only measured. Without, access is white-box: trained through the classifier itself.
    """
    choose_for_denoiser(settings)
    dataset = settings.open_dataset()
    named, name, entry, objective = choose_for_denoiser(settings, partial(images_of, settings, dataset))
    architecture = fit_channels(Variant.parse(settings.denoiser), dataset.channels)
    denoiser = initialised(lambda: build_denoiser(architecture), settings.seed)
    start = start_from(denoiser, settings, entry.starts_from)
    protected = _load_classifier(settings, device)
    surrogates = load_surrogates(settings.surrogates, protected, device, settings.trust_code)
    data = read_training_data(settings, named.recipe.augment, device, dataset=dataset)
    network = as_trained(denoiser, settings, device, named.recipe, data.train)
    cleaned = try_out(network, data.train.first(), f"denoiser '{architecture}'")
    for loaded in (*surrogates, *([protected] if protected is not None else [])):
        own = Variant.parse(loaded.spec.classifier).is_own
        try_out(loaded.model, cleaned, f"classifier '{loaded.spec.classifier}'", own)
    if objective.needs_labels and NO_LABEL in data.train.labels:
        raise RaysmoothError(
            f"objective '{name}' needs a label for each image of {settings.dataset} {settings.split}: write "
            f"--objective {name.replace('clf', 'stab')}, which needs none"
        )
    guides = surrogates or ([protected] if protected is not None else [])
    through = (
        [
            _differentiable(guide, network.precision, data.train.first(), int(data.train.labels.max()), name)
            for guide in guides
        ]
        if objective.needs_classifier
        else [torch.nn.Identity()]
    )
    noise = TrainingNoise(settings.noise, settings.sigma, device)
    judges = [InPrecision(guide.model, device, network.precision) for guide in guides]
    labelled = NO_LABEL not in data.held_out.labels
    itself = InPrecision(protected.model, device, network.precision) if protected is not None else None

    def loss(
        denoiser: InPrecision, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int, step: int
    ) -> torch.Tensor:
        return objective(denoiser, through[step % len(through)], images, labels, noise)

    @cache
    def undenoised() -> float:
        assert itself is not None
        return noisy_accuracy(itself, data.held_out, noise)

    def measure() -> dict[str, float]:
        metrics = judge_denoiser(network, judges, data.held_out, noise)
        if itself is not None and labelled:
            metrics["noisy_accuracy"] = undenoised()
            if surrogates:
                protects = judge_denoiser(network, [itself], data.held_out, noise)
                metrics["protected_accuracy"] = protects["denoised_accuracy"]
        return metrics

    card = {
        "architecture": str(architecture),
        "objective": settings.objective,
        "options": describe(objective),
        "noise": settings.noise,
        "sigma": settings.sigma,
        "access": ("black-box" if surrogates else "white-box") if objective.needs_classifier else None,
        "parents": {
            "init_weights": None if start is None else start.fingerprint,
            "classifier": None if protected is None else parent_of(protected),
            "surrogates": [parent_of(surrogate) for surrogate in surrogates],
        },
    }
    return TrainingTask(
        network=network,
        weights=denoiser,
        loss=loss,
        chunks=1,
        data=data,
        noise=noise,
        recipe=named,
        measure=measure,
        best_by="denoised_accuracy" if guides and labelled else "psnr",
        card=card,
        warnings=() if start is None else other_noise("--init-weights", settings.init_weights, start.card, settings),
    )


def _check_classifiers(
    settings: TrainDenoiserSettings, name: str, starts_from: str | None, needs_classifier: bool
) -> None:
    if needs_classifier and settings.classifier is None and not settings.surrogates:
        raise RaysmoothError(
            f"objective '{name}' needs --classifier and --classifier-weights, or --surrogates without access to the "
            "classifier's gradients"
        )
    if not needs_classifier and settings.surrogates:
        raise RaysmoothError(
            f"objective '{name}' does not use a classifier: leave --surrogates out, or write --objective stab"
        )
    refuse_without_classifier(
        settings.classifier,
        classifier_weights=settings.classifier_weights,
        preprocess=settings.preprocess,
        input_size=settings.input_size,
        interpolation=settings.interpolation,
    )
    if starts_from is not None and settings.init_weights is None:
        raise RaysmoothError(
            f"objective '{name}' starts from {starts_from} weights: train them with --objective {starts_from} "
            f"--out {starts_from}.safetensors, then add --init-weights {starts_from}.safetensors here"
        )


def _load_classifier(settings: TrainDenoiserSettings, device: torch.device) -> Loaded | None:
    """The frozen classifier, in eval mode, behind no denoiser."""
    if settings.classifier is None:
        return None
    spec = BaseClassifierSpec(
        settings.classifier,
        settings.classifier_weights,
        settings.preprocess,
        import_path=(os.getcwd(),),
        trust_code=settings.trust_code,
        input_size=settings.input_size,
        interpolation=settings.interpolation,
    )
    return load_base_classifier(spec, device)


def _differentiable(loaded: Loaded, precision: str, pixels: torch.Tensor, most: int, objective: str) -> torch.nn.Module:
    """The frozen classifier's logits, with gradients with respect to its input.

    Raises RaysmoothError for a classifier without gradients, and for one without a class for label `most`.
    """
    refusal = RaysmoothError(
        f"objective '{objective}' needs gradients through the classifier, '{loaded.spec.classifier}' has none: "
        "give a classifier whose logits come from torch operations, or --surrogates in its place, or write "
        "--objective mse"
    )
    if not isinstance(loaded.model.classifier, torch.nn.Module):
        raise refusal
    model = torch.nn.Sequential(loaded.model.normalize, loaded.model.classifier)
    try:
        logits = model(pixels.clone().requires_grad_())
    except Exception as error:  # for example numpy, which refuses tensors with a gradient
        raise refusal from error
    if not (logits.ndim == 2 and logits.requires_grad):
        raise refusal
    if most >= logits.shape[1]:
        raise RaysmoothError(
            f"classifier '{loaded.spec.classifier}' has {counted(logits.shape[1], 'class')}, the images have "
            f"labels up to {most}: train through a classifier of these classes"
        )
    return InPrecision(model, pixels.device, precision).eval()
