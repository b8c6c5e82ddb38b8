"""The numbers that training computes with: one row a precision."""

from collections.abc import Mapping
from typing import Any

import torch

from actors.refusal import Refusal
from actors.table import Table

PRECISIONS: Table[torch.dtype] = Table("precision", {"float32": torch.float32, "bfloat16": torch.bfloat16})


def settled_precision(asked: str, device: torch.device) -> str:
    """The row of `PRECISIONS` that "auto" means here: bfloat16 where the device multiplies it at full speed.

    Raises Refusal for an unknown name.
    """
    if asked != "auto":
        if asked not in PRECISIONS:
            raise Refusal(f"unknown precision '{asked}': write auto, {' or '.join(PRECISIONS)}")
        return asked
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases have none
        native = bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return "bfloat16" if native else "float32"


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
