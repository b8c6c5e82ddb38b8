"""What every training job does around its training: where it runs, its recipe, its card, its last line."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from actors.architecture import Architecture
from actors.refusal import Refusal
from pipeline.datasets import DATASETS
from tune.recipes import RECIPES, Recipe, default_recipe
from tune.settings import TrainingJobSettings

CARD_FORMAT = 1


@dataclass(frozen=True)
class NamedRecipe:
    """A row of `RECIPES` with the settings' own values in it."""

    name: str
    recipe: Recipe


def choose_recipe(settings: TrainingJobSettings, kind: str) -> NamedRecipe:
    """The recipe the settings name, else the default for `kind`; raises Refusal for an unknown one, or data set."""
    _ = DATASETS[settings.dataset]  # an unknown one is refused as such, not for its lack of a recipe
    name = settings.recipe or default_recipe(settings.dataset, kind)
    own = {field.name: getattr(settings, field.name, None) for field in fields(Recipe)}
    return NamedRecipe(name, replace(RECIPES[name], **{k: v for k, v in own.items() if v is not None}))


@contextmanager
def workplace(settings: TrainingJobSettings) -> Iterator[tuple[Path, torch.device]]:
    """The file to write and the device to train on; torch's number of threads is the settings' meanwhile.

    Raises Refusal for a file that cannot be written there or a device that is not.
    """
    out, device = _checked_out(settings.out), _checked_device(settings.device)
    threads_before = torch.get_num_threads()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        yield out, device
    finally:
        torch.set_num_threads(threads_before)


def card(
    settings: TrainingJobSettings,
    objective: str,
    architecture: Architecture,
    sigma: float | None,
    named: NamedRecipe,
    metrics: Mapping[str, float],
    parents: Mapping[str, str | None],
) -> dict[str, Any]:
    """What the weights file tells of itself, in JSON values.

    `sigma` is that of the noise trained on, in pixel units, None for none; `metrics` are measured on the held-out
    images; `parents` are fingerprints of the weights that this training began with or trained against.
    """
    return {
        "raysmooth_format": CARD_FORMAT,
        "architecture": str(architecture),
        "objective": objective,
        "noise": None if sigma is None else "gaussian",
        "sigma": sigma,
        "dataset": settings.dataset,
        "split": settings.split,
        "recipe": {"name": named.name, **asdict(named.recipe)},
        "seed": settings.seed,
        "metrics": dict(metrics),
        "parents": dict(parents),
    }


def summary(card: Mapping[str, Any], seconds: float, out: Path) -> str:
    """One line: what was trained, what it measures, where it is."""
    noise = "" if card["sigma"] is None else f" at sigma {card['sigma']:g}"
    measured = ", ".join(
        f"{name.replace('_', ' ')} {_readable(name, value)}" for name, value in card["metrics"].items()
    )
    return f"{card['architecture']}, {card['objective']}{noise}: {measured} on held-out images; {seconds:.0f} s; {out}"


def _readable(name: str, value: float) -> str:
    return f"{value:.1%}" if name.endswith("accuracy") else f"{value:.2f} dB"


def _checked_out(text: str) -> Path:
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


def _checked_device(text: str) -> torch.device:
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise Refusal(f"unknown device '{text}': write auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refusal(f"--device {text}: torch sees {torch.cuda.device_count()} GPUs here: write --device auto")
    return device
