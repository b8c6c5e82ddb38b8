"""Networks as training needs them: on their device, tried on an image before any work, begun from given weights."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raysmooth.actors.models.weights import fingerprint, load_weights, read_weights
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.tune.recipes.precision import InPrecision, settled_precision
from raysmooth.tune.recipes.settings import TrainingSettings


def as_trained(network: torch.nn.Module, settings: TrainingSettings, device: torch.device) -> InPrecision:
    """`network` on the device, channels last, in the settings' precision, compiled if they say so."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.compile:
        network.compile(dynamic=False)
    return InPrecision(network, device, settled_precision(settings.precision, device))


@dataclass(frozen=True)
class Start:
    """Weights that a training begins with."""

    fingerprint: str
    card: Mapping[str, Any]


def start_from(network: torch.nn.Module, settings: TrainingSettings, objective: str | None = None) -> Start | None:
    """Load the weights that the settings name to start from, if any; refuse those that tell of another objective."""
    if (path := settings.init_weights) is None:
        return None
    if Path(path).resolve() == Path(settings.out).expanduser().resolve():
        raise RaysmoothError(f"--init-weights {path} is --out too: write the new weights elsewhere")
    weights = read_weights(path)
    told = weights.card.get("objective")
    if objective is not None and told is not None and str(told).partition(":")[0] != objective:
        raise RaysmoothError(f"--init-weights {path} were trained with {told}: give weights that {objective} gave")
    load_weights(network, weights, path)
    return Start(fingerprint(network), weights.card)


def try_training(network: torch.nn.Module, pixels: torch.Tensor, what: str) -> None:
    """Refuse a network that cannot be trained as it is: a copy of it answers two images in train mode."""
    answer = deepcopy(network).train()(torch.cat([pixels, pixels]))
    if not isinstance(answer, torch.Tensor):
        raise RaysmoothError(
            f"{what} answers with a {type(answer).__name__} in training, it must give logits: for googlenet and "
            "inception_v3 of torchvision write the option aux_logits=false"
        )
    if not answer.requires_grad:
        raise RaysmoothError(f"{what} has no parameters that learn: leave requires_grad on for those that shall")


@torch.no_grad()
def try_out(model: torch.nn.Module, pixels: torch.Tensor, what: str) -> torch.Tensor:
    """The answer in eval mode, so that a network that does not fit is refused before training."""
    try:
        return model.eval()(pixels)
    except RaysmoothError:
        raise
    except Exception as error:
        reason = one_line(error)
        raise RaysmoothError(
            f"{what} rejects images of shape {tuple(pixels.shape[1:])}: {reason} -- choose the data set, "
            "--resize/--crop or the options (such as channels=1) that fit"
        ) from error
