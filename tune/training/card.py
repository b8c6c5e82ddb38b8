"""The card: what a weights file tells of its training in JSON values, and what of that decides the training."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from raysmooth.common.hashing import settings_hash
from raysmooth.tune.recipes.precision import InPrecision
from raysmooth.tune.recipes.recipe_choice import NamedRecipe
from raysmooth.tune.recipes.settings import TrainingSettings
from raysmooth.tune.training.training_data import TrainingData

CARD_FORMAT = 2


def common_card(
    settings: TrainingSettings, data: TrainingData, recipe: NamedRecipe, precision: str, best_by: str
) -> dict[str, Any]:
    """What a training of any kind tells of itself before it begins."""
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
        "precision": precision,
        "compile": settings.compile,
        "best_by": best_by,
    }


def circumstances(network: InPrecision, workers: int) -> dict[str, Any]:
    """What decides no more of a training than the order of its sums."""
    device = next(network.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "workers": workers, "torch": torch.__version__}


def decisive(card: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a card's values that decide its training, in one form: objectives that mean the same are equal.

    Left out are nulls and prose; numbers are floats, and an objective is its name, since its options stand beside it.
    """
    plain = json.loads(json.dumps(card))
    plain["objective"] = str(plain["objective"]).partition(":")[0]
    plain["recipe"].pop("source")
    return dict(_canonical(plain))


def identity(decisive: Mapping[str, Any]) -> str:
    """SHA-256 in hex of what decides a training."""
    return settings_hash(decisive)


def summary(card: Mapping[str, Any], seconds: float, out: Path) -> str:
    """One line: what was trained, what it measures, where it is."""
    noise = "" if card["sigma"] is None else f" at sigma {card['sigma']:g}"
    if card["noise"] not in (None, "gaussian"):
        noise = f" with {card['noise']} noise{noise}"
    measured = readable(card["metrics"])
    return f"{card['architecture']}, {card['objective']}{noise}: {measured} on held-out images; {seconds:.0f} s; {out}"


def readable(metrics: Mapping[str, float]) -> str:
    """Accuracies in percent, PSNR in dB, whatever else as a number."""

    def shown(name: str, value: float) -> str:
        if name.endswith("accuracy"):
            return f"{value:.1%}"
        return f"{value:.2f} dB" if name == "psnr" else f"{value:.4g}"

    return ", ".join(f"{name.replace('_', ' ')} {shown(name, value)}" for name, value in metrics.items())


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
