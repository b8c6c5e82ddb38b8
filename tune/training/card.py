"""The card of a weights file: its training in JSON values, and which of them are the training's identity."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from raysmooth.actors.models.loading import Loaded
from raysmooth.actors.models.networks.input_size import NO_RESIZE
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.recipe_choice import NamedRecipe
from raysmooth.tune.recipes.settings import TrainingSettings
from raysmooth.tune.training.training_data import TrainingData

CARD_FORMAT = 2


def common_card(
    settings: TrainingSettings, data: TrainingData, recipe: NamedRecipe, network: InPrecision, best_by: str
) -> dict[str, Any]:
    """The part of the card that all kinds of training have, known before the first epoch."""
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
        "precision": network.precision,
        "compile": network.compiled,
        "best_by": best_by,
    }


def parent_of(loaded: Loaded) -> dict[str, str | None]:
    """The record of a classifier that a network is trained for, through, or measured in front of."""
    spec = loaded.spec
    return {
        "architecture": spec.classifier,
        "preprocess": spec.preprocess,
        **({} if spec.resizing in (None, NO_RESIZE) else {"resizing": spec.resizing}),
        "fingerprint": spec.classifier_fingerprint,
    }


def environment(network: InPrecision, world_size: int) -> dict[str, Any]:
    """Where a training ran. It is not part of its identity: it changes the order of sums, nothing else."""
    device = next(network.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "workers": world_size, "torch": torch.__version__}


def identity_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a card that decide the training, in one form for all objectives that mean the same.

    Nulls and prose are left out; numbers are floats; an objective is its name, as the card lists its options too.
    """
    plain = json.loads(json.dumps(card))
    plain["objective"] = str(plain["objective"]).partition(":")[0]
    plain["recipe"].pop("source")
    return dict(_canonical(plain))


def summary(card: Mapping[str, Any], seconds: float, out: Path) -> str:
    """One line: the network and its objective, its metrics, its file."""
    noise = "" if card["sigma"] is None else f" at sigma {card['sigma']:g}"
    if card["noise"] not in (None, "gaussian"):
        noise = f" with {card['noise']} noise{noise}"
    if card.get("data_dependent") is not None:
        noise += ", data-dependent"
    measured = readable(card["metrics"])
    return f"{card['architecture']}, {card['objective']}{noise}: {measured} on held-out images; {seconds:.0f} s; {out}"


def readable(metrics: Mapping[str, float]) -> str:
    """Accuracies in percent, PSNR in dB, all other metrics as plain numbers."""

    def text(name: str, value: float) -> str:
        if name.endswith("accuracy"):
            return f"{value:.1%}"
        return f"{value:.2f} dB" if name == "psnr" else f"{value:.4g}"

    return ", ".join(f"{name.replace('_', ' ')} {text(name, value)}" for name, value in metrics.items())


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
