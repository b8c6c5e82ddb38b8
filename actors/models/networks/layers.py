"""Building blocks of the CIFAR networks: chains of layers with the names of the published weights."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Conv:
    """One convolution of a chain, padded so that stride 1 keeps the size. `relu`: whether a ReLU follows its BatchNorm
    (in chains that start with the convolution).
    """

    channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    relu: bool = True

    def layer(self, channels_in: int) -> nn.Conv2d:
        return nn.Conv2d(
            channels_in, self.channels, self.kernel, self.stride, self.kernel // 2, groups=self.groups, bias=self.bias
        )


def conv_bn(channels_in: int, *convs: Conv, first: int = 1) -> dict[str, nn.Module]:
    """Convolution, BatchNorm, ReLU for each of `convs`: conv1, bn1, relu1, conv2, ..., numbered from `first`."""
    layers: dict[str, nn.Module] = {}
    for number, conv in enumerate(convs, first):
        layers |= {f"conv{number}": conv.layer(channels_in), f"bn{number}": nn.BatchNorm2d(conv.channels)}
        if conv.relu:
            layers[f"relu{number}"] = nn.ReLU()
        channels_in = conv.channels
    return layers


def bn_conv(channels_in: int, *convs: Conv) -> dict[str, nn.Module]:
    """Pre-activation (BatchNorm, ReLU, convolution) for each of `convs`: bn1, relu1, conv1, bn2, ..."""
    layers: dict[str, nn.Module] = {}
    for number, conv in enumerate(convs, 1):
        layers |= {f"{name}{number}": layer for name, layer in bn_relu_conv(channels_in, conv).items()}
        channels_in = conv.channels
    return layers


def bn_relu_conv(channels_in: int, conv: Conv) -> dict[str, nn.Module]:
    """One pre-activated convolution, without numbers: bn, relu, conv."""
    return {"bn": nn.BatchNorm2d(channels_in), "relu": nn.ReLU(), "conv": conv.layer(channels_in)}


def squeeze_excitation(channels: int, reduction: int = 16) -> dict[str, nn.Module]:
    """Features (B, C, H, W) -> a weight in (0, 1) per channel, (B, C, 1, 1) (Hu et al. 2018)."""
    return {
        "squeeze": nn.AdaptiveAvgPool2d(1),
        "fc1": nn.Conv2d(channels, channels // reduction, 1),
        "fc_relu": nn.ReLU(),
        "fc2": nn.Conv2d(channels // reduction, channels, 1),
        "sigmoid": nn.Sigmoid(),
    }


class Layers(nn.Sequential):
    """Named layers in sequence."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__(OrderedDict(layers))


class Block(nn.Module):
    """A module that runs its layers in several chains; all are its direct children, as the keys require."""

    def add(self, **layers: nn.Module) -> tuple[str, ...]:
        """Add `layers` as children; returns the chain for `run`."""
        for name, layer in layers.items():
            self.add_module(name, layer)
        return tuple(layers)

    def run(self, chain: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
        for name in chain:
            x = getattr(self, name)(x)
        return x


class GlobalMean(nn.Module):
    """Features (B, C, H, W) -> (B, C). The published networks' last pooling windows all cover the whole map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def projection(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """A shortcut: a 1x1 convolution and BatchNorm if the shape changes, else the identity."""
    if stride == 1 and channels_in == channels:
        return nn.Sequential()
    return nn.Sequential(*conv_bn(channels_in, Conv(channels, stride=stride, relu=False)).values())


def initialise(network: nn.Module) -> None:
    """Initialise convolutions as in He et al. 2015, fan-out mode; by default networks keep torch's initialisation."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


MakeBlock = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) -> a block."""


def stage(make: MakeBlock, channels_in: int, channels: int, count: int, stride: int) -> nn.Sequential:
    """`count` blocks in sequence; the first changes channels and size."""
    return nn.Sequential(make(channels_in, channels, stride), *(make(channels, channels, 1) for _ in range(count - 1)))


def stages(make: MakeBlock, channels_in: int, sizes: Iterable[tuple[int, int, int]]) -> dict[str, nn.Module]:
    """Stages layer1, layer2, ...; `sizes`: channels, count and stride of each."""
    layers: dict[str, nn.Module] = {}
    for number, (channels, count, stride) in enumerate(sizes, 1):
        layers[f"layer{number}"] = stage(make, channels_in, channels, count, stride)
        channels_in = channels
    return layers


def head(channels: int, num_classes: int, name: str = "linear") -> dict[str, nn.Module]:
    """The end: features (B, channels, H, W) -> logits (B, num_classes); `name`: that of the linear layer."""
    return {"pool": GlobalMean(), name: nn.Linear(channels, num_classes)}
