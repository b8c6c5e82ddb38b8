"""DnCNN (Zhang et al. 2017): a denoiser that predicts the noise and subtracts it."""

import torch
from torch import nn

from raysmooth.common.errors import RaysmoothError

LARGEST = 1024
"""What an option can be: a larger network would only fill the memory, after minutes. A file's card may name one."""


class DnCNN(nn.Module):
    """Noisy pixels (B, channels, H, W) -> denoised pixels of the same shape, not clipped: x - net(x).

    `depth` 3x3 convolutions: conv + ReLU; depth - 2 times conv without bias, BatchNorm, ReLU; conv. Before training it
    returns its input, as the last convolution starts at zero. Defaults are those of Salman et al. 2020, appendix A:
    558,400 parameters. Raises RaysmoothError for a depth below 2, a width or channels below 1, and any above LARGEST.
    """

    def __init__(self, depth: int = 17, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        if not (2 <= depth <= LARGEST and 1 <= width <= LARGEST and 1 <= channels <= LARGEST):
            raise RaysmoothError(
                f"no DnCNN has depth={depth}, width={width}, channels={channels}: "
                f"write a depth from 2 to {LARGEST:,}, width and channels from 1 to {LARGEST:,}"
            )
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width, eps=1e-4, momentum=0.95),
                nn.ReLU(),
            ]
        last = nn.Conv2d(width, channels, 3, padding=1, bias=False)
        self.dncnn = nn.Sequential(*layers, last)
        for layer in self.dncnn:
            if isinstance(layer, nn.Conv2d):
                nn.init.orthogonal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.zeros_(last.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.dncnn(x)
