"""timm's models by name; timm is an optional extra."""

import importlib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

if TYPE_CHECKING:
    import torch

PREFIX = "timm/"


def build_timm(architecture: Variant) -> "torch.nn.Module":
    """The model "timm/NAME", without weights; the options are timm's keywords.

    Raises RaysmoothError if timm is not installed, for a name unknown to it, or options that do not fit.
    """
    timm, name = _look_up(architecture)

    def build(**options: Any) -> "torch.nn.Module":
        # Weights come from --classifier-weights only: as options, these two are refused as duplicates.
        return timm.create_model(name, pretrained=False, checkpoint_path="", **options)

    return architecture.build(build, "classifier")


def timm_preprocess(architecture: Variant) -> str:
    """Mean and standard deviation of the training of timm's own weights, in the form that `parse_preprocess` reads.

    "none" if they are for another number of channels than the model's. Raises RaysmoothError as `build_timm` does.
    """
    timm, name = _look_up(architecture)
    constants = timm.get_pretrained_cfg(name)
    if dict(architecture.options).get("in_chans", 3) != len(constants.mean):
        return "none"
    return "/".join(",".join(map(str, numbers)) for numbers in (constants.mean, constants.std))


def _look_up(architecture: Variant) -> tuple[Any, str]:
    """The module timm, and its name for the model."""
    name = architecture.name.removeprefix(PREFIX)
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise RaysmoothError(
            f"classifier '{architecture.name}' needs timm ({error}): pip install 'raysmooth[timm]'"
        ) from error
    try:
        known = timm.is_model(name) and timm.get_pretrained_cfg(name) is not None
    except RuntimeError:  # NAME.TAG: a known model, but no weights of this tag
        known = False
    if not known:
        close = get_close_matches(name.lower().partition(".")[0], timm.list_models(), n=1, cutoff=0.5)
        hint = f"did you mean '{PREFIX}{close[0]}'? " if close else ""
        raise RaysmoothError(
            f"unknown classifier '{architecture.name}': {hint}(timm.list_models() gives all of timm's names)"
        )
    return timm, name
