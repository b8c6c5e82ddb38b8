"""Networks of depthwise convolutions for 32x32 images, in the layout of the published weights."""

from collections.abc import Iterator

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import (
    Block,
    Conv,
    Layers,
    conv_bn,
    head,
    projection,
    squeeze_excitation,
    stages,
)


class CifarMobileNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes)."""


class InvertedResidual(Block):
    """Widen `expansion` times, 3x3 depthwise, narrow without a ReLU (Sandler et al. 2018).

    At stride 1 x is added, through a 1x1 convolution and BatchNorm if the channels change.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int = 6) -> None:
        super().__init__()
        wide = expansion * channels_in
        convs = Conv(wide), Conv(wide, 3, stride, groups=wide), Conv(channels, relu=False)
        self.branch = self.add(**conv_bn(channels_in, *convs))
        self.shortcut = projection(channels_in, channels, stride) if stride == 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.run(self.branch, x)
        return out if self.shortcut is None else out + self.shortcut(x)


class GatedInvertedResidual(InvertedResidual):
    """Squeeze and excitation weights the narrow channels; where x is not added, their unweighted values are."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int = 6) -> None:
        super().__init__(channels_in, channels, stride, expansion)
        self.gate = self.add(**squeeze_excitation(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.run(self.branch, x)
        return out * self.run(self.gate, out) + (out if self.shortcut is None else self.shortcut(x))


def _separable(channels_in: int, channels: int, stride: int) -> nn.Module:
    """3x3 depthwise, then 1x1 (Howard et al. 2017)."""
    return Layers(**conv_bn(channels_in, Conv(channels_in, 3, stride, groups=channels_in), Conv(channels)))


def _in_a_row(parts: dict[str, nn.Module]) -> Iterator[nn.Module]:
    """The blocks of all stages in one sequence, as the published keys number them."""
    for part in parts.values():
        yield from part.children()


def cifar_mobilenet(num_classes: int = 10) -> nn.Module:
    """MobileNet; 3,217,226 parameters."""
    sizes = [(64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2)]
    return CifarMobileNet(
        **conv_bn(3, Conv(32, 3)),
        layers=nn.Sequential(*_in_a_row(stages(_separable, 32, sizes))),
        **head(1024, num_classes),
    )


def cifar_mobilenet_v2(num_classes: int = 10) -> nn.Module:
    """MobileNetV2; 2,296,922 parameters."""
    sizes = [(24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    first = InvertedResidual(32, 16, stride=1, expansion=1)
    return CifarMobileNet(
        **conv_bn(3, Conv(32, 3)),
        layers=nn.Sequential(first, *_in_a_row(stages(InvertedResidual, 16, sizes))),
        **conv_bn(320, Conv(1280), first=2),
        **head(1280, num_classes),
    )


def cifar_efficientnet_b0(num_classes: int = 10) -> nn.Module:
    """EfficientNet-B0 (Tan and Le 2019) as first published for CIFAR-10; 2,912,089 parameters.

    Unlike in the paper: ReLU for swish, only 3x3 kernels, gates after the narrowing with a 16th of its channels, no
    1280 channels before the end, no dropout.
    """
    sizes = [(24, 2, 1), (40, 2, 2), (80, 3, 2), (112, 3, 1), (192, 4, 2), (320, 1, 2)]
    first = GatedInvertedResidual(32, 16, stride=2, expansion=1)
    return CifarMobileNet(
        **conv_bn(3, Conv(32, 3)),
        layers=nn.Sequential(first, *_in_a_row(stages(GatedInvertedResidual, 16, sizes))),
        **head(320, num_classes),
    )
