"""A classifier of flat pictures: class k is grey level 20 k, of 255."""

import torch


class GreyLevel(torch.nn.Module):
    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        self.register_buffer("levels", torch.arange(classes) * 20 / 255)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return -(batch.mean(dim=(1, 2, 3))[:, None] - self.levels).abs()
