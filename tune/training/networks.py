"""Networks ready to train: on their device, tried on an image before any work, with the weights to start from."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raysmooth.actors.compute.compilation import compiler, require_compiler
from raysmooth.actors.models.ensemble_cards import member_cards
from raysmooth.actors.models.own_callable import refused_images
from raysmooth.actors.models.weights import fingerprint, load_weights, read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.data.training_images import Images
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.precision import settled_precision
from raysmooth.tune.recipes.recipe import Recipe
from raysmooth.tune.recipes.settings import TrainDenoiserSettings, TrainingSettings, TrainRejectorSettings

WORTH_COMPILING = 2 * 10**6 * 32 * 32
"""Pixels, counted over all epochs, from which `--compile auto` compiles on a GPU. Compiling takes about a minute and
shortens steps by about a quarter; DnCNN needs some minutes for 2 million 32x32 images."""


def as_trained(
    network: torch.nn.Module, settings: TrainingSettings, device: torch.device, recipe: Recipe, images: Images
) -> InPrecision:
    """`network` on the device, channels last, in the precision and compiled as the settings ask.

    Raises RaysmoothError for an unknown precision, and for `compile` "on" without a C++ compiler.
    """
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = recipe.epochs * len(images) * images.first()[0, 0].numel()
    compiled = settled_compile(settings.compile, device, pixels)
    return InPrecision(network, device, settled_precision(settings.precision, device), compiled)


def settled_compile(asked: str, device: torch.device, pixels: int) -> bool:
    """Whether to compile the network of a training on `pixels` pixels, counted over all its epochs.

    "auto" compiles on a GPU with a compiler, from `WORTH_COMPILING` pixels on. Raises RaysmoothError for "on" without a
    compiler.
    """
    if asked == "on":
        require_compiler()
    if asked != "auto":
        return asked == "on"
    return device.type == "cuda" and pixels >= WORTH_COMPILING and compiler() is not None


def without_overrun(network: torch.nn.Module, device: torch.device) -> AbstractContextManager[Any]:
    """A context for training `network` on `device`: without oneDNN where a layer would make it write past its memory.

    torch 2.15's oneDNN does so on processors with AVX2 and no more, in the gradient of the weights of a convolution of
    one pixel with a stride and four input channels; the narrow ones, all below eight, are taken together.
    """
    narrow = any(
        isinstance(layer, torch.nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.in_channels < 8
        for layer in network.modules()
    )
    return torch.backends.mkldnn.flags(enabled=False) if narrow and device.type == "cpu" else nullcontext()


@dataclass(frozen=True)
class Start:
    """Weights that a training starts from."""

    fingerprint: str
    card: Mapping[str, Any]


def start_from(network: torch.nn.Module, settings: TrainingSettings, objective: str | None = None) -> Start | None:
    """Load the weights that the settings start from, if any; refuse those of another objective than `objective`."""
    if (path := settings.init_weights) is None:
        return None
    if Path(path).resolve() == Path(settings.out).expanduser().resolve():
        raise RaysmoothError(f"--init-weights {path} is --out too: write the new weights elsewhere")
    weights = read_weights(path)
    carded = weights.card.get("objective")
    if objective is not None and carded is not None and str(carded).partition(":")[0] != objective:
        raise RaysmoothError(f"--init-weights {path} were trained with {carded}: give weights trained with {objective}")
    load_weights(network, weights, path)
    return Start(fingerprint(network), weights.card)


def other_noise(
    flag: str, path: str | None, card: Mapping[str, Any], settings: TrainDenoiserSettings | TrainRejectorSettings
) -> tuple[str, ...]:
    """A warning about the weights that `flag` names, if their card says that they were trained on other noise."""
    found = [(own, card.get("noise"), card.get("sigma")) for own, card in member_cards(path, card)]
    return tuple(
        f"{flag} {own} were trained on {noise} noise of sigma {sigma}, this training uses {settings.noise} noise of "
        f"sigma {settings.sigma:g}"
        for own, noise, sigma in found
        if None not in (noise, sigma) and (noise, sigma) != (settings.noise, settings.sigma)
    )


def try_training(network: torch.nn.Module, pixels: torch.Tensor, what: str) -> None:
    """Run a copy of the network in train mode on two images, and refuse one that cannot be trained."""
    answer = deepcopy(network).train()(torch.cat([pixels, pixels]))
    if not isinstance(answer, torch.Tensor):
        raise RaysmoothError(
            f"{what} answers with a {type(answer).__name__} in training, it must give logits: for googlenet and "
            "inception_v3 of torchvision write the option aux_logits=false"
        )
    if not answer.requires_grad:
        raise RaysmoothError(f"{what} has no parameters to train: leave requires_grad on for those to be trained")


@torch.no_grad()
def try_out(model: torch.nn.Module, pixels: torch.Tensor, what: str, own: bool = False) -> torch.Tensor:
    """The output in eval mode; a network that does not fit the images, or code of the user's `own` that raises
    anything, is refused before training.
    """
    try:
        return model.eval()(pixels)
    except RaysmoothError:
        raise
    except Exception as error:
        fitting = "the data set, --resize/--crop or the options (such as channels=1) that fit"
        raise refused_images(what, own, tuple(pixels.shape[1:]), error, fitting) from error
