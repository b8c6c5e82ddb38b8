"""The numbers that training computes with: one row a precision."""

import torch

from raysmooth.actors.compute import compute_config as compute_path
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

PRECISIONS: Registry[torch.dtype] = Registry(
    "precision", {name: compute_path.PRECISIONS[name].dtype for name in ("float32", "bfloat16")}
)
"""Those in which gradients need no scaling."""


def settled_precision(asked: str, device: torch.device) -> str:
    """The row of `PRECISIONS` that "auto" means here: bfloat16 where the device multiplies it at full speed.

    Raises RaysmoothError for an unknown name.
    """
    if asked == "auto":
        return compute_path.native_precision(device)
    if asked not in PRECISIONS:
        raise RaysmoothError(f"unknown precision '{asked}': write auto, {' or '.join(PRECISIONS)}")
    return asked


class InPrecision(torch.nn.Module):
    """`network` under autocast: weights and answers are float32, what lies between is `precision`.

    Losses are computed on the answers, so never in less than float32.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device, precision: str) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self._device = device.type
        self._dtype = PRECISIONS[precision]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (B, C, H, W) -> the network's answer: float32, or labels as they are."""
        with torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype != torch.float32):
            answer = self.network(pixels)
        return answer.float() if isinstance(answer, torch.Tensor) and answer.is_floating_point() else answer
