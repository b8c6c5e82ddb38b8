"""What can be trained: one entry per kind of training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from raysmooth.common.registry import Registry
from raysmooth.tune.recipes.settings import (
    TrainClassifierSettings,
    TrainDenoiserSettings,
    TrainingSettings,
    TrainRejectorSettings,
)
from raysmooth.tune.training.classifier_task import choose_for_classifier, classifier_task
from raysmooth.tune.training.denoiser_task import choose_for_denoiser, denoiser_task
from raysmooth.tune.training.rejector_task import choose_for_rejector, rejector_task
from raysmooth.tune.training.task import TrainingTask


@dataclass(frozen=True)
class Training:
    """`choose` refuses settings whose recipe and objective do not fit, without opening a file; `task` builds the
    training. `summary_metric` is the metric to show where no other is asked for.
    """

    settings: type[TrainingSettings]
    choose: Callable[[Any], object]
    task: Callable[[Any, torch.device], TrainingTask]
    summary_metric: str


TRAININGS: Registry[Training] = Registry(
    "training",
    {
        "classifier": Training(TrainClassifierSettings, choose_for_classifier, classifier_task, "accuracy"),
        "denoiser": Training(TrainDenoiserSettings, choose_for_denoiser, denoiser_task, "psnr"),
        "rejector": Training(TrainRejectorSettings, choose_for_rejector, rejector_task, "auc"),
    },
)
