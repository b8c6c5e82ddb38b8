"""Denoisers by name: a new one is an entry."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Variant

if TYPE_CHECKING:
    import torch

NO_DENOISER = "none"


@dataclass(frozen=True)
class DenoiserEntry:
    """`build` takes the architecture's options as keywords.

    `published`: the values of "arch" in the network's published checkpoints.
    """

    build: Callable[..., "torch.nn.Module"]
    summary: str
    published: tuple[str, ...] = ()


_DNCNN = LateCallable("raysmooth.actors.models.networks.dncnn:DnCNN")

DENOISERS: Registry[DenoiserEntry] = Registry(
    "denoiser",
    {
        "dncnn": DenoiserEntry(
            _DNCNN, "DnCNN; options depth=17, width=64, channels=3", ("cifar_dncnn", "imagenet_dncnn")
        ),
        "dncnn_wide": DenoiserEntry(partial(_DNCNN, width=128), "DnCNN of width=128", ("cifar_dncnn_wide",)),
        "memnet": DenoiserEntry(
            LateCallable("raysmooth.actors.models.networks.memnet:MemNet"),
            "MemNet; options width=64, memory_blocks=3, residual_blocks=6, channels=3",
            ("memnet", "imagenet_memnet"),
        ),
    },
)


def build_denoiser(architecture: Variant) -> "torch.nn.Module":
    """The denoiser without its weights, noisy pixels (B, C, H, W) -> pixels of the same shape.

    The caller handles "none" (no denoiser). Raises RaysmoothError for an unknown name or options that do not fit.
    """
    return architecture.build(_entry(architecture).build, "denoiser")


def _entry(architecture: Variant) -> DenoiserEntry:
    if architecture.name not in DENOISERS:
        known = [*DENOISERS] if architecture.name == NO_DENOISER else [*DENOISERS, NO_DENOISER]
        raise RaysmoothError(f"unknown denoiser '{architecture.name}': {nearest(architecture.name, known)}")
    return DENOISERS[architecture.name]


def fit_channels(architecture: Variant, channels: int) -> Variant:
    """The denoiser with the option `channels` of the images, unless that is its default.

    Raises RaysmoothError for an unknown name, and where the option says another number.
    """
    options = dict(architecture.options)
    parameter = signature(_entry(architecture).build).parameters.get("channels")
    if parameter is None or options.get("channels", parameter.default) == channels:
        return architecture
    if "channels" in options:
        raise RaysmoothError(
            f"denoiser '{architecture}' is for {options['channels']} channels, the images have {channels}: leave "
            f"channels out, or write --channels {options['channels']}"
        )
    return Variant(architecture.name, tuple(sorted({**options, "channels": channels}.items())))
