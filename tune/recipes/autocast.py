"""A network that computes in a precision of training."""

from typing import Any

import torch

from raysmooth.tune.recipes.precision import TRAINING_PRECISIONS


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
        self._dtype = TRAINING_PRECISIONS[precision].dtype
        if compiled:
            network.compile(dynamic=False)

    def forward(self, *inputs: Any) -> torch.Tensor:
        """The network's inputs, such as pixels (B, C, H, W) -> its output: float32, or labels unchanged."""
        with torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype != torch.float32):
            answer = self.network(*inputs)
        return answer.float() if isinstance(answer, torch.Tensor) and answer.is_floating_point() else answer
