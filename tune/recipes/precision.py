"""The numbers that training computes with."""

import torch

from raysmooth.actors.compute.compute_config import PRECISIONS, native_precision
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

TRAINING_PRECISIONS: Registry[torch.dtype] = Registry(
    "precision", {name: PRECISIONS[name].dtype for name in ("float32", "bfloat16")}
)
"""The precisions of certification in which gradients need no scaling."""


def settled_precision(asked: str, device: torch.device) -> str:
    """The entry of `TRAINING_PRECISIONS` for `asked`; "auto" is bfloat16 where the device multiplies it at full speed.

    Raises RaysmoothError for an unknown name.
    """
    if asked == "auto":
        return native_precision(device)
    if asked not in TRAINING_PRECISIONS:
        raise RaysmoothError(f"unknown precision '{asked}': write auto, {' or '.join(TRAINING_PRECISIONS)}")
    return asked


class InPrecision(torch.nn.Module):
    """`network` under autocast, and compiled if asked: weights and outputs are float32, activations `precision`.

    Losses are computed on the outputs, so never in less than float32.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device, precision: str, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self.compiled = compiled
        self._device = device.type
        self._dtype = TRAINING_PRECISIONS[precision]
        if compiled:
            network.compile(dynamic=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (B, C, H, W) -> the network's output: float32, or labels unchanged."""
        with torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype != torch.float32):
            answer = self.network(pixels)
        return answer.float() if isinstance(answer, torch.Tensor) and answer.is_floating_point() else answer
