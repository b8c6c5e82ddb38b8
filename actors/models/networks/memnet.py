"""MemNet (Tai et al. 2017): a denoiser with gates over the outputs of all earlier blocks."""

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import Conv, Layers, bn_relu_conv
from raysmooth.common.errors import RaysmoothError


class ResidualUnit(nn.Module):
    """x + f(x), x (B, `width`, H, W); f is twice BatchNorm, ReLU, 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.relu_conv1 = _unit(width, width)
        self.relu_conv2 = _unit(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.relu_conv2(self.relu_conv1(x))


class MemoryBlock(nn.Module):
    """`residual_blocks` units in sequence, then a 1x1 gate over their outputs and `memories` earlier maps."""

    def __init__(self, width: int, residual_blocks: int, memories: int) -> None:
        super().__init__()
        self.recursive_unit = nn.ModuleList(ResidualUnit(width) for _ in range(residual_blocks))
        self.gate_unit = _unit((residual_blocks + memories) * width, width, kernel=1)

    def forward(self, memory: list[torch.Tensor]) -> torch.Tensor:
        """All earlier maps (B, width, H, W), oldest first -> this block's; the units start from the newest."""
        x = memory[-1]
        recent = []
        for unit in self.recursive_unit:
            x = unit(x)
            recent.append(x)
        return self.gate_unit(torch.cat(recent + memory, dim=1))


LARGEST, MOST_BLOCKS = 1024, 64
"""Limits of width and channels, and of either kind of blocks, as DnCNN has them. Each memory block is larger than the
one before.
"""


class MemNet(nn.Module):
    """Noisy pixels (B, channels, H, W) -> denoised pixels of the same shape, not clipped: x + net(x).

    Before training it returns its input, as the last convolution starts at zero. Defaults are those of the weights
    published with Salman et al. 2020: 1,436,678 parameters. Raises RaysmoothError for an option below 1
    or above its limit.
    """

    def __init__(self, width: int = 64, memory_blocks: int = 3, residual_blocks: int = 6, channels: int = 3) -> None:
        super().__init__()
        most = (LARGEST, MOST_BLOCKS, MOST_BLOCKS, LARGEST)
        sizes = (width, memory_blocks, residual_blocks, channels)
        if not all(1 <= size <= limit for size, limit in zip(sizes, most, strict=True)):
            raise RaysmoothError(
                f"no MemNet has width={width}, memory_blocks={memory_blocks}, residual_blocks={residual_blocks}, "
                f"channels={channels}: write 1 to {MOST_BLOCKS} blocks, and 1 to {LARGEST:,} of the others"
            )
        self.feature_extractor = _unit(channels, width)
        # The first block has one earlier map, the features; each following block has one more.
        self.dense_memory = nn.ModuleList(
            MemoryBlock(width, residual_blocks, memories) for memories in range(1, memory_blocks + 1)
        )
        self.reconstructor = _unit(width, channels)
        nn.init.zeros_(self.reconstructor.get_parameter("conv.weight"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        memory = [self.feature_extractor(x)]
        for block in self.dense_memory:
            memory.append(block(memory))
        return x + self.reconstructor(memory[-1])


def _unit(channels_in: int, channels: int, kernel: int = 3) -> Layers:
    return Layers(**bn_relu_conv(channels_in, Conv(channels, kernel)))
