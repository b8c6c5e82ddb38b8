"""Pre-activation residual networks for 32x32 images: plain, gated and wide, in the layout of the published weights."""

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import (
    Block,
    Conv,
    Layers,
    bn_conv,
    conv_bn,
    head,
    initialise,
    squeeze_excitation,
    stages,
)


class PreActivation(Block):
    """x + branch; the branch is twice BatchNorm, ReLU, convolution (He et al. 2016, "Identity Mappings").

    Where channels or size change, a 1x1 convolution of the branch's first ReLU, not of x, replaces x.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        chain = self.add(**bn_conv(channels_in, Conv(channels, 3, stride), Conv(channels, 3)))
        self.activation, self.branch = chain[:2], chain[2:]
        changes = stride != 1 or channels_in != channels
        self.shortcut_chain = self.add(**self.projection(channels_in, Conv(channels, stride=stride))) if changes else ()

    @staticmethod
    def projection(channels_in: int, conv: Conv) -> dict[str, nn.Module]:
        return {"shortcut": nn.Sequential(conv.layer(channels_in))}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.run(self.activation, x)
        return self.residual(active) + (self.run(self.shortcut_chain, active) if self.shortcut_chain else x)

    def residual(self, active: torch.Tensor) -> torch.Tensor:
        return self.run(self.branch, active)


class GatedPreActivation(PreActivation):
    """Squeeze and excitation weights the branch's channels before x is added."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__(channels_in, channels, stride)
        self.gate = self.add(**squeeze_excitation(channels))

    def residual(self, active: torch.Tensor) -> torch.Tensor:
        out = self.run(self.branch, active)
        return out * self.run(self.gate, out)


class WidePreActivation(PreActivation):
    """The same block with the key of wide residual networks for the 1x1 convolution."""

    @staticmethod
    def projection(channels_in: int, conv: Conv) -> dict[str, nn.Module]:
        return {"convShortcut": conv.layer(channels_in)}


class CifarPreActResNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes)."""


class CifarWideResNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes)."""


_STAGES = [(64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)]


def cifar_preactresnet18(num_classes: int = 10) -> nn.Module:
    """Pre-activation ResNet-18, as published, without the last BatchNorm and ReLU; 11,171,146 parameters."""
    return CifarPreActResNet(
        conv1=Conv(64, 3).layer(3), **stages(PreActivation, 64, _STAGES), **head(512, num_classes)
    )  # fmt: skip


def cifar_senet18(num_classes: int = 10) -> nn.Module:
    """The same with squeeze and excitation, and BatchNorm and ReLU after the stem; 11,260,354 parameters."""
    return CifarPreActResNet(
        **conv_bn(3, Conv(64, 3)), **stages(GatedPreActivation, 64, _STAGES), **head(512, num_classes)
    )  # fmt: skip


def cifar_wrn28_10(num_classes: int = 10) -> nn.Module:
    """WRN-28-10; 36,479,194 parameters."""
    return wide_resnet(28, 10, num_classes)


def cifar_wrn40_10(num_classes: int = 10) -> nn.Module:
    """WRN-40-10; 55,841,754 parameters."""
    return wide_resnet(40, 10, num_classes)


def wide_resnet(depth: int, width: int, num_classes: int) -> nn.Module:
    """Zagoruyko and Komodakis 2016, without dropout; `depth` = 6n + 4: n blocks per stage of 16, 32, 64 x `width`."""
    blocks = (depth - 4) // 6
    widths = [(16 * width, blocks, 1), (32 * width, blocks, 2), (64 * width, blocks, 2)]
    groups = stages(WidePreActivation, 16, widths).values()
    network = CifarWideResNet(
        conv1=Conv(16, 3).layer(3),
        **{f"block{number}": Layers(layer=group) for number, group in enumerate(groups, 1)},
        bn1=nn.BatchNorm2d(64 * width),
        relu=nn.ReLU(),
        **head(64 * width, num_classes, "fc"),
    )
    initialise(network)
    return network
