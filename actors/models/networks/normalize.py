"""The layer of a normalisation."""

import torch

from raysmooth.common.errors import RaysmoothError


class Normalize(torch.nn.Module):
    """Pixels (B, C, H, W) -> (pixels - mean) / std, channel by channel.

    The constants move with the module but are not in its state dict, so weights fit with or without this layer.
    Raises RaysmoothError for another number of channels, which broadcasting would hide.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if batch.shape[1] != self.mean.shape[1]:
            raise RaysmoothError(
                f"preprocess has constants for {self.mean.shape[1]} channels, images have {batch.shape[1]}: "
                "write --preprocess none, or MEANS/STDS with one number per channel"
            )
        return (batch - self.mean) / self.std
