"""Training a rejector for a frozen classifier, mostly behind a frozen denoiser: its loss and its metrics."""

import os
from collections.abc import Callable
from functools import partial

import torch

from raysmooth.actors.models.answers import read_answer
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded, load_base_classifier
from raysmooth.actors.models.networks.ensemble import Ensemble
from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.rejectors import REJECTORS, Network, read_rejector
from raysmooth.actors.models.stage_features import find_taps
from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.common.variant import Variant
from raysmooth.tune.objectives.objective import RejectorObjective, describe, parse_objective
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.general import ImageSet
from raysmooth.tune.recipes.recipe_choice import NamedRecipe, choose_recipe, images_of, objective_text
from raysmooth.tune.recipes.settings import TrainRejectorSettings
from raysmooth.tune.training.card import parent_of
from raysmooth.tune.training.frozen import Frozen
from raysmooth.tune.training.networks import as_trained, other_noise, start_from, try_out
from raysmooth.tune.training.rejection_metrics import judge_rejector
from raysmooth.tune.training.task import TrainingTask
from raysmooth.tune.training.trainer import initialised
from raysmooth.tune.training.training_data import NO_LABEL, TrainingData, read_training_data


def choose_for_rejector(
    settings: TrainRejectorSettings, images: Callable[[], ImageSet] | None = None
) -> tuple[NamedRecipe, str, RejectorObjective]:
    """The recipe, the objective as text with all its options, and the objective; no file is opened. `images`: see
    `choose_recipe`.

    Raises RaysmoothError for unknown names, and for a rejector that is not trained.
    """
    rejector_options(settings.rejector)
    name, _, _ = parse_objective(settings.objective, REJECTOR_OBJECTIVES)
    _ = NOISES[settings.noise]
    named = choose_recipe(settings, name, images)
    text = objective_text(settings.objective, REJECTOR_OBJECTIVES, named, settings.sigma)
    return named, text, parse_objective(text, REJECTOR_OBJECTIVES)[2]


def rejector_options(text: str) -> Network:
    """The options of a rejector that can be trained. Raises RaysmoothError for another, and for a threshold, which is
    chosen when certifying.
    """
    written, options = read_rejector(text)
    if not REJECTORS[written.name].trained:
        raise RaysmoothError(
            f"rejector '{written.name}' is a rule that needs no training: write 'certify --rejector {written}', or "
            "train --rejector network"
        )
    if "threshold" in dict(written.options):
        raise RaysmoothError(
            f"rejector '{written}': the threshold is chosen when certifying: leave it out here, and write "
            f"'certify --rejector {written.name}:threshold=...'"
        )
    assert isinstance(options, Network)
    return options


def rejector_task(settings: TrainRejectorSettings, device: torch.device) -> TrainingTask:
    """The training of these settings; raises RaysmoothError for one that is impossible."""
    choose_for_rejector(settings)
    dataset = settings.open_dataset()
    named, text, objective = choose_for_rejector(settings, partial(images_of, settings, dataset))
    loaded = _load_frozen(settings, device)
    data = read_training_data(settings, named.recipe.augment, device, dataset=dataset)
    normalised, classes = _try_frozen(loaded, data.train.first())
    _check_labels(objective, data, classes, settings)
    options = rejector_options(settings.rejector)
    taps = find_taps(loaded.model.classifier, normalised)
    shape = tuple(data.train.first().shape[1:])
    build = partial(RejectorNetwork, taps, classes, shape, width=options.width, depth=options.depth)
    rejector = initialised(build, settings.seed)
    start = start_from(rejector, settings)
    network = as_trained(rejector, settings, device, named.recipe, data.train)
    frozen = Frozen(loaded.model, rejector.taps, device, network.precision)
    noise = TrainingNoise(settings.noise, settings.sigma, device)
    family = noise_family(settings.noise, settings.sigma)

    def loss(
        rejector: InPrecision, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int, step: int
    ) -> torch.Tensor:
        return objective(rejector, frozen, images, labels, noise)

    def measure() -> dict[str, float]:
        return judge_rejector(network, frozen, objective, data.held_out, noise, family)

    spec = loaded.spec
    denoiser = {"architecture": spec.denoiser, "fingerprint": spec.denoiser_fingerprint}
    card = {
        **rejector.card,
        "objective": text,
        "options": describe(objective),
        "noise": settings.noise,
        "sigma": settings.sigma,
        "parents": {
            "init_weights": None if start is None else start.fingerprint,
            "classifier": parent_of(loaded),
            "denoiser": None if spec.denoiser_fingerprint is None else denoiser,
        },
    }
    warnings = [*other_noise("--denoiser-weights", settings.denoiser_weights, loaded.denoiser_card, settings)]
    if start is not None:
        warnings += other_noise("--init-weights", settings.init_weights, start.card, settings)
    if not rejector.taps:
        warnings.append(
            f"classifier '{spec.classifier}' has no feature maps of the rejector's resolutions: the rejector sees the "
            "denoised image alone"
        )
    return TrainingTask(
        network=network,
        weights=rejector,
        loss=loss,
        chunks=1,
        data=data,
        noise=noise,
        recipe=named,
        measure=measure,
        best_by="auc" if NO_LABEL in data.held_out.labels else "estimated_acr",
        card=card,
        warnings=tuple(warnings),
    )


def _load_frozen(settings: TrainRejectorSettings, device: torch.device) -> Loaded:
    """The classifier behind its denoiser. Raises RaysmoothError for a classifier that is no torch module."""
    spec = BaseClassifierSpec(
        settings.classifier,
        settings.classifier_weights,
        settings.preprocess,
        settings.denoiser,
        settings.denoiser_weights,
        import_path=(os.getcwd(),),
        trust_code=settings.trust_code,
        input_size=settings.input_size,
        interpolation=settings.interpolation,
    )
    loaded = load_base_classifier(spec, device)
    if not isinstance(loaded.model.classifier, torch.nn.Module):
        raise RaysmoothError(
            f"classifier '{spec.classifier}' is no torch module, and a rejector is trained on features of one: certify "
            "with --rejector confidence:threshold=0.6, say, which needs its logits alone"
        )
    if isinstance(loaded.model.classifier, Ensemble):
        raise RaysmoothError(
            f"classifier '{spec.classifier}' is an ensemble, and a rejector is trained on features of one network: "
            "give one file as --classifier-weights, or certify with --rejector confidence:threshold=0.6, say"
        )
    return loaded


def _try_frozen(loaded: Loaded, pixels: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The input of the classifier, and the number of its classes. Raises RaysmoothError for networks that do not fit
    the image, and for a classifier that answers labels.
    """
    model, spec = loaded.model, loaded.spec
    denoised = try_out(model.denoiser, pixels, f"denoiser '{spec.denoiser}'")
    normalised = model.normalize(denoised)
    who, own = f"classifier '{spec.classifier}'", Variant.parse(spec.classifier).is_own
    answer = read_answer(try_out(model.classifier, normalised, who, own), pixels)
    if answer.ndim == 1:
        raise RaysmoothError(
            f"{who} answers labels, and a rejector is trained on its logits and features: let it return logits"
        )
    return normalised, answer.shape[1]


def _check_labels(
    objective: RejectorObjective, data: TrainingData, classes: int, settings: TrainRejectorSettings
) -> None:
    """Raises RaysmoothError for images without the labels that the objective needs."""
    if not objective.needs_labels:
        return
    where, most = f"{settings.dataset} {settings.split}", int(data.train.labels.max())
    if NO_LABEL in data.train.labels:
        raise RaysmoothError(
            f"objective '{settings.objective}' needs a label for each image of {where}: write --objective "
            "disagreement, which needs none"
        )
    if most >= classes:
        raise RaysmoothError(
            f"classifier '{settings.classifier}' has {counted(classes, 'class')}, {where} has labels up to {most}: "
            "give a classifier of these classes, or write --objective disagreement"
        )
