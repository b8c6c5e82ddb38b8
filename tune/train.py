"""Training jobs: read the training split, train, measure on its held-out tenth, save the weights with their card."""

import os
import sys
from functools import partial
from pathlib import Path
from time import monotonic

import torch

from actors.architecture import Architecture
from actors.base_classifier import BaseClassifierSpec, DenoisedClassifier, Loaded, load_base_classifier
from actors.classifiers import build_classifier, default_preprocess
from actors.denoisers import build_denoiser
from actors.noise import Gaussian
from actors.preprocess import parse_preprocess
from actors.refusal import Refusal
from actors.weights import fingerprint, load_weights, read_weights, save_weights
from tune.job import card, choose_recipe, summary, workplace
from tune.objectives import CLASSIFIER_OBJECTIVES, DENOISER_OBJECTIVES, Model
from tune.settings import TrainClassifierSettings, TrainDenoiserSettings
from tune.training import initialised, train
from tune.training_data import NO_LABEL, Examples, read_training_data
from tune.validation import accuracy, noisy_accuracy, psnr


def train_classifier(settings: TrainClassifierSettings, show: bool = True) -> Path:
    """Train a classifier and write its weights; returns their path, `settings.out`.

    With `show`, progress goes to stderr and a summary line to stdout. Raises Refusal for settings that cannot be
    carried out, before any training, and for a loss that is not finite.
    """
    objective = CLASSIFIER_OBJECTIVES[settings.objective]
    if settings.sigma is None and objective.needs_sigma:
        raise Refusal(f"objective '{settings.objective}' trains on noisy images: write --sigma 0.25, say")
    sigma = None if settings.sigma is None else Gaussian(settings.sigma).scale
    named = choose_recipe(settings, "classifier")
    with workplace(settings) as (out, device):
        architecture = Architecture.parse(settings.classifier)
        preprocess = settings.preprocess or default_preprocess(architecture)
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # where the user's own module:callable may live
        classifier = initialised(lambda: build_classifier(architecture), settings.seed)
        if not (isinstance(classifier, torch.nn.Module) and any(True for _ in classifier.parameters())):
            raise Refusal(f"classifier '{architecture}' has no parameters to train: give a torch module that has")
        model = torch.nn.Sequential(parse_preprocess(preprocess), classifier).to(device)
        data = read_training_data(settings, device)
        logits = _try(model, data.train, f"classifier '{architecture}'")
        _check_labels(data.train, logits, settings, architecture)

        began = monotonic()
        loss = partial(objective.loss, model)
        train(model, data.train, loss, named.recipe, sigma or 0.0, settings.seed, str(architecture), show)
        labels_of = DenoisedClassifier(None, model[0], classifier).eval()
        metrics = {"accuracy": accuracy(labels_of, data.held_out)}
        if sigma is not None:
            metrics["noisy_accuracy"] = noisy_accuracy(labels_of, data.held_out, sigma)
        trained_on = sigma if objective.needs_sigma else None
        told = card(settings, settings.objective, architecture, trained_on, named, metrics, {})
        save_weights(out, classifier, {**told, "preprocess": preprocess})
        if show:
            print(summary(told, monotonic() - began, out))
    return out


def train_denoiser(settings: TrainDenoiserSettings, show: bool = True) -> Path:
    """Train a denoiser for Gaussian noise and write its weights; returns their path, `settings.out`.

    The classifier it stands in front of, if any, stays as it is. With `show`, progress goes to stderr and a
    summary line to stdout. Raises Refusal for settings that cannot be carried out, before any training, and for a
    loss that is not finite.
    """
    objective, sigma = DENOISER_OBJECTIVES[settings.objective], Gaussian(settings.sigma).scale
    if objective.needs_classifier and settings.classifier is None:
        raise Refusal(f"objective '{settings.objective}' needs --classifier, and --classifier-weights with it")
    if (first := objective.starts_from) is not None and settings.init_weights is None:
        raise Refusal(
            f"objective '{settings.objective}' starts from {first} weights: train them with --objective {first} "
            f"--out {first}.safetensors, then add --init-weights {first}.safetensors here"
        )
    named = choose_recipe(settings, settings.objective)
    with workplace(settings) as (out, device):
        architecture = Architecture.parse(settings.denoiser)
        denoiser = initialised(lambda: build_denoiser(architecture), settings.seed)
        parents: dict[str, str | None] = {}
        if settings.init_weights is not None:
            parents["init_weights"] = _start_from(denoiser, settings.init_weights, first)
        denoiser.to(device)
        base = _load_classifier(settings, device)
        data = read_training_data(settings, device)
        cleaned = _try(denoiser, data.train, f"denoiser '{architecture}'")
        logits_of: Model = torch.nn.Identity()  # mse, which needs no classifier, never calls it
        if base is not None:
            parents["classifier"] = base.spec.classifier_fingerprint
            _try(base.model, Examples(cleaned, data.train.labels), f"classifier '{base.spec.classifier}'")
            if objective.needs_classifier:
                logits_of = _differentiable(base, data.train, settings.objective)

        began = monotonic()
        loss = partial(objective.loss, denoiser, logits_of)
        label = f"{architecture} {settings.objective}"
        train(denoiser, data.train, loss, named.recipe, sigma, settings.seed, label, show)
        metrics = {"psnr": psnr(denoiser, data.held_out, sigma)}
        if base is not None and NO_LABEL not in data.held_out.labels:
            labels_of = base.model
            metrics["noisy_accuracy"] = noisy_accuracy(labels_of, data.held_out, sigma)
            metrics["denoised_accuracy"] = noisy_accuracy(lambda x: labels_of(denoiser(x)), data.held_out, sigma)
        told = card(settings, settings.objective, architecture, sigma, named, metrics, parents)
        save_weights(out, denoiser, told)
        if show:
            print(summary(told, monotonic() - began, out))
    return out


def _load_classifier(settings: TrainDenoiserSettings, device: torch.device) -> Loaded | None:
    """The frozen classifier, in eval mode, behind no denoiser."""
    if settings.classifier is None:
        return None
    spec = BaseClassifierSpec(
        settings.classifier, settings.classifier_weights, settings.preprocess, import_path=(os.getcwd(),)
    )
    return load_base_classifier(spec, device)


def _start_from(denoiser: torch.nn.Module, path: str, objective: str | None) -> str:
    """Load the weights to start from and return their fingerprint; refuse those that tell of another objective."""
    weights = read_weights(path)
    told = weights.card.get("objective")
    if objective is not None and told is not None and told != objective:
        raise Refusal(f"--init-weights {path} were trained with {told}: give weights that {objective} gave")
    load_weights(denoiser, weights, path)
    return fingerprint(denoiser)


def _differentiable(base: Loaded, examples: Examples, objective: str) -> Model:
    """The base classifier's logits, with gradients with respect to its input; refuse one that has none."""

    def logits_of(images: torch.Tensor) -> torch.Tensor:
        return base.model.classifier(base.model.normalize(images))

    logits = logits_of(examples.images[:1].clone().requires_grad_())
    if not (logits.ndim == 2 and logits.requires_grad):
        raise Refusal(
            f"objective '{objective}' needs gradients through the classifier, '{base.spec.classifier}' gives none: "
            "train for a classifier that gives logits from torch operations, or write --objective mse"
        )
    return logits_of


@torch.no_grad()
def _try(model: torch.nn.Module, examples: Examples, what: str) -> torch.Tensor:
    """The answer to the first image, so that a network that does not fit is refused before training."""
    try:
        return model.eval()(examples.images[:1])
    except Refusal:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Refusal(
            f"{what} rejects images of shape {tuple(examples.images.shape[1:])}: {reason} -- choose the data set, "
            "--resize/--crop or the options (such as channels=1) that fit"
        ) from error


def _check_labels(
    examples: Examples, logits: torch.Tensor, settings: TrainClassifierSettings, architecture: Architecture
) -> None:
    where, classes, most = f"{settings.dataset} {settings.split}", logits.shape[-1], int(examples.labels.max())
    if NO_LABEL in examples.labels:
        raise Refusal(f"{where} has images without a label: a classifier needs one for each")
    if most >= classes:
        raise Refusal(
            f"classifier '{architecture}' tells {classes} classes apart, {where} has labels up to {most}: "
            f"write --classifier {architecture.name}:num_classes={most + 1}"
        )
