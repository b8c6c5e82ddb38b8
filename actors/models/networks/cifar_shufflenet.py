"""ShuffleNetV2 for 32x32 images (Ma et al. 2018), in the layout of the published weights."""

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import Block, Conv, Layers, conv_bn, head


class Unit(Block):
    """x (B, C, H, W) -> the same shape: half of the channels pass through a chain, the other half stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = self.add(**conv_bn(half, Conv(half), Conv(half, 3, groups=half, relu=False), Conv(half)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, changed = x.chunk(2, dim=1)
        return _interleave(kept, self.run(self.branch, changed))


class DownUnit(Block):
    """x (B, channels_in, H, W) -> (B, channels, H/2, W/2): x passes through each of two chains."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        left = Conv(channels_in, 3, stride=2, groups=channels_in, relu=False), Conv(half)
        right = Conv(half), Conv(half, 3, stride=2, groups=half, relu=False), Conv(half)
        self.left = self.add(**conv_bn(channels_in, *left))
        self.right = self.add(**conv_bn(channels_in, *right, first=3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _interleave(self.run(self.left, x), self.run(self.right, x))


def _interleave(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Channels in the order left, right, left, right, ...: a shuffle of two groups."""
    return torch.stack((left, right), dim=2).flatten(1, 2)


class CifarShuffleNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes)."""


def cifar_shufflenet_v2(num_classes: int = 10) -> nn.Module:
    """ShuffleNetV2 at width 1; 1,263,854 parameters."""
    layers: dict[str, nn.Module] = {}
    channels_in = 24
    for number, (channels, count) in enumerate([(116, 3), (232, 7), (464, 3)], 1):
        units = [DownUnit(channels_in, channels), *(Unit(channels) for _ in range(count))]
        layers[f"layer{number}"] = nn.Sequential(*units)
        channels_in = channels
    return CifarShuffleNet(
        **conv_bn(3, Conv(24, 3)), **layers, **conv_bn(464, Conv(1024), first=2), **head(1024, num_classes)
    )
