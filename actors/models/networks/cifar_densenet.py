"""DenseNet for 32x32 images (Huang et al. 2017), in the layout of the published weights."""

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import Block, Conv, Layers, bn_conv, bn_relu_conv, head


class DenseLayer(Block):
    """x (B, C, H, W) -> (B, `growth` + C, H, W): new channels, computed through 4 x `growth`, before the old ones."""

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.branch = self.add(**bn_conv(channels_in, Conv(4 * growth), Conv(growth, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.run(self.branch, x), x), dim=1)


class CifarDenseNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes).

    `counts`: layers per stage; a transition between stages halves channels and size.
    """

    def __init__(self, counts: tuple[int, ...], growth: int, num_classes: int) -> None:
        channels = 2 * growth
        layers: dict[str, nn.Module] = {"conv1": Conv(channels, 3).layer(3)}
        for number, count in enumerate(counts, 1):
            dense = [DenseLayer(channels + earlier * growth, growth) for earlier in range(count)]
            layers[f"dense{number}"] = nn.Sequential(*dense)
            channels += count * growth
            if number < len(counts):
                halved = bn_relu_conv(channels, Conv(channels // 2))
                layers[f"trans{number}"] = Layers(**halved, pool=nn.AvgPool2d(2))
                channels //= 2
        super().__init__(**layers, bn=nn.BatchNorm2d(channels), relu=nn.ReLU(), **head(channels, num_classes))


def cifar_densenet121(num_classes: int = 10) -> nn.Module:
    """DenseNet-121 with a 3x3 stem; 6,956,298 parameters."""
    return CifarDenseNet((6, 12, 24, 16), 32, num_classes)
