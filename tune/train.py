"""Training jobs: a base classifier, or a denoiser for one; by this process, or by several that share each batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from actors.weights import read_weights
from tune.classifier_job import classifier_assignment
from tune.denoiser_job import denoiser_assignment
from tune.job import Assignment, carry_out, check_device, check_out, summary
from tune.settings import TrainClassifierSettings, TrainDenoiserSettings, TrainingJobSettings
from tune.trainer import Share
from tune.workers import on_workers


def train_classifier(settings: TrainClassifierSettings, show: bool = True) -> Path:
    """Train a classifier and write its weights; returns their path, `settings.out`.

    The same settings again go on where a training was stopped, or find it done. With `show`, progress goes to stderr
    and a summary line to stdout. Raises Refusal for settings that cannot be carried out, before any training, and for
    a loss that is not finite.
    """
    return _train(settings, classifier_assignment, show)


def train_denoiser(settings: TrainDenoiserSettings, show: bool = True) -> Path:
    """Train a denoiser and write its weights, otherwise like `train_classifier`.

    The classifier that it stands in front of, and surrogates, stay as they are.
    """
    return _train(settings, denoiser_assignment, show)


def _train(settings: Any, assign: Callable[[Any, torch.device], Assignment], show: bool) -> Path:
    out, began = check_out(settings.out), monotonic()
    if settings.workers > 1:
        on_workers(settings, assign, show)
    else:
        device = check_device(settings.device)
        with _threads(settings):
            carry_out(settings, assign(settings, device), Share(), show)
    if show:
        print(summary(read_weights(out).card, monotonic() - began, out))
    return out


@contextmanager
def _threads(settings: TrainingJobSettings) -> Iterator[None]:
    """The settings' number of torch's threads, meanwhile."""
    before = torch.get_num_threads()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
