"""Train a base classifier, a denoiser for one, or a rejector of its answers, in this process or in several that share
each batch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.store_urls import refuse_url
from raysmooth.tune.recipes.settings import (
    TrainClassifierSettings,
    TrainDenoiserSettings,
    TrainingSettings,
    TrainRejectorSettings,
)
from raysmooth.tune.training.card import summary
from raysmooth.tune.training.task import run_training
from raysmooth.tune.training.trainer import WorkerRank
from raysmooth.tune.training.trainings import TRAININGS, Training
from raysmooth.tune.training.workers import on_workers


def train_classifier(settings: TrainClassifierSettings, show: bool = True) -> Path:
    """Train a classifier and write its weights; returns their path, `settings.out`.

    The same settings resume a training that was stopped, and return at once for a finished one. With `show`, progress
    goes to stderr and a summary line to stdout. Raises RaysmoothError before any training for settings that are
    impossible, and during it for a loss that is not finite.
    """
    return _train(settings, TRAININGS["classifier"], show)


def train_denoiser(settings: TrainDenoiserSettings, show: bool = True) -> Path:
    """Train a denoiser and write its weights, otherwise like `train_classifier`.

    The classifier behind it and the surrogates are frozen.
    """
    return _train(settings, TRAININGS["denoiser"], show)


def train_rejector(settings: TrainRejectorSettings, show: bool = True) -> Path:
    """Train a rejector and write its weights, otherwise like `train_classifier`.

    The classifier and the denoiser in front of it are frozen.
    """
    return _train(settings, TRAININGS["rejector"], show)


def _train(settings: Any, training: Training, show: bool) -> Path:
    out, began = _checked_out(settings.out), monotonic()
    if settings.workers > 1:
        on_workers(settings, training.task, show)
    elif settings.address is not None:
        raise RaysmoothError(f"--address {settings.address} is for --workers: write --workers 2, say, or leave it out")
    else:
        device = _checked_device(settings.device)
        with _threads(settings):
            run_training(settings, training.task(settings, device), WorkerRank(), show)
    if show:
        print(summary(read_weights(out).card, monotonic() - began, out))
    return out


@contextmanager
def _threads(settings: TrainingSettings) -> Iterator[None]:
    """Sets torch's number of CPU threads, and restores it afterwards."""
    before = torch.get_num_threads()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _checked_out(text: str) -> Path:
    """The path of the weights file; raises RaysmoothError for one that cannot be written."""
    refuse_url(text, "--out")
    out = Path(text).expanduser()
    if out.suffix != ".safetensors" or out.is_dir():
        raise RaysmoothError(f"--out {text}: write the path of a file ending in .safetensors")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaysmoothError(
            f"--out {text}: folder {out.parent} cannot be created: {error.strerror or error}"
        ) from error
    if not os.access(out.parent, os.W_OK):
        raise RaysmoothError(f"--out {text}: folder {out.parent} is not writable: write another path")
    return out


def _checked_device(text: str) -> torch.device:
    """The device of this name; raises RaysmoothError for one that does not exist here."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = text.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise RaysmoothError(f"unknown device '{text}': write auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise RaysmoothError(f"--device {text}: torch sees {torch.cuda.device_count()} GPUs here: write --device auto")
    return torch.device(text)
