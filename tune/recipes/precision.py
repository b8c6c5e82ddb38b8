"""The numbers that training computes with."""

from typing import TYPE_CHECKING

from raysmooth.actors.compute.compute_config import PRECISIONS, Precision, native_precision
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch

TRAINING_PRECISIONS: Registry[Precision] = Registry(
    "precision", {name: PRECISIONS[name] for name in ("float32", "bfloat16")}
)
"""The precisions of certification in which gradients need no scaling."""


def settled_precision(asked: str, device: "torch.device") -> str:
    """The entry of `TRAINING_PRECISIONS` for `asked`; "auto" is bfloat16 where the device multiplies it at full speed.

    Raises RaysmoothError for an unknown name.
    """
    if asked == "auto":
        return native_precision(device)
    if asked not in TRAINING_PRECISIONS:
        raise RaysmoothError(f"unknown precision '{asked}': write auto, {' or '.join(TRAINING_PRECISIONS)}")
    return asked
