"""Residual networks for 32x32 images (He et al. 2016, Xie et al. 2017), in the layout of the published weights."""

from functools import partial

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import Block, Conv, Layers, conv_bn, head, initialise, projection, stages


class Residual(Block):
    """relu(branch(x) + shortcut(x)); the branch, `convs`, ends without a ReLU. `shortcut`: its name in the keys."""

    def __init__(self, channels_in: int, stride: int, *convs: Conv, shortcut: str) -> None:
        super().__init__()
        self.branch = self.add(**conv_bn(channels_in, *convs))
        self.relu = nn.ReLU()
        self.shortcut_chain = self.add(**{shortcut: projection(channels_in, convs[-1].channels, stride)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.run(self.branch, x) + self.run(self.shortcut_chain, x))


class CifarResNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes)."""


def _basic(channels_in: int, channels: int, stride: int, shortcut: str) -> nn.Module:
    convs = Conv(channels, 3, stride), Conv(channels, 3, relu=False)
    return Residual(channels_in, stride, *convs, shortcut=shortcut)


def _bottleneck(channels_in: int, channels: int, stride: int, groups: int) -> nn.Module:
    width = channels // 2
    convs = Conv(width), Conv(width, 3, stride, groups), Conv(channels, relu=False)
    return Residual(channels_in, stride, *convs, shortcut="shortcut")


def _narrow(depth: int, num_classes: int) -> nn.Module:
    """He et al. 2016, section 4.2; `depth` is 6n + 2, with n blocks per stage."""
    blocks = (depth - 2) // 6
    network = CifarResNet(
        **conv_bn(3, Conv(16, 3)),
        **stages(partial(_basic, shortcut="downsample"), 16, [(16, blocks, 1), (32, blocks, 2), (64, blocks, 2)]),
        **head(64, num_classes, "fc"),
    )
    initialise(network)
    return network


def cifar_resnet20(num_classes: int = 10) -> nn.Module:
    """ResNet-20; 272,474 parameters."""
    return _narrow(20, num_classes)


def cifar_resnet110(num_classes: int = 10) -> nn.Module:
    """ResNet-110; 1,730,714 parameters."""
    return _narrow(110, num_classes)


def cifar_resnet18(num_classes: int = 10) -> nn.Module:
    """ImageNet's ResNet-18 with a 3x3 convolution as its stem; 11,173,962 parameters."""
    return CifarResNet(
        **conv_bn(3, Conv(64, 3)),
        **stages(partial(_basic, shortcut="shortcut"), 64, [(64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)]),
        **head(512, num_classes),
    )


def cifar_resnext29_2x64d(num_classes: int = 10) -> nn.Module:
    """ResNeXt-29 with 2 groups, 64 channels each in the first stage, and a 1x1 stem; 9,128,778 parameters."""
    return CifarResNet(
        **conv_bn(3, Conv(64)),
        **stages(partial(_bottleneck, groups=2), 64, [(256, 3, 1), (512, 3, 2), (1024, 3, 2)]),
        **head(1024, num_classes),
    )
