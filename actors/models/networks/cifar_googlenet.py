"""GoogLeNet for 32x32 images (Szegedy et al. 2015), with BatchNorm, in the layout of the published weights."""

import torch
from torch import nn

from raysmooth.actors.models.networks.layers import Conv, Layers, conv_bn, head

# Channels of an inception: b1; b2's 1x1 and 3x3; b3's 1x1 and 3x3s (for a 5x5); b4. A max pool comes before a4 and a5.
_INCEPTIONS = {
    "a3": (64, 96, 128, 16, 32, 32),
    "b3": (128, 128, 192, 32, 96, 64),
    "a4": (192, 96, 208, 16, 48, 64),
    "b4": (160, 112, 224, 24, 64, 64),
    "c4": (128, 128, 256, 24, 64, 64),
    "d4": (112, 144, 288, 32, 64, 64),
    "e4": (256, 160, 320, 32, 128, 128),
    "a5": (256, 160, 320, 32, 128, 128),
    "b5": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four parallel branches, their channels concatenated: 1x1, 3x3, 5x5 as two 3x3, 1x1 after a max pool."""

    def __init__(self, channels_in: int, b1: int, b2_in: int, b2: int, b3_in: int, b3: int, b4: int) -> None:
        super().__init__()
        self.b1 = _branch(channels_in, (b1, 1))
        self.b2 = _branch(channels_in, (b2_in, 1), (b2, 3))
        self.b3 = _branch(channels_in, (b3_in, 1), (b3, 3), (b3, 3))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_branch(channels_in, (b4, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.b1(x), self.b2(x), self.b3(x), self.b4(x)), dim=1)


def _branch(channels_in: int, *convs: tuple[int, int]) -> nn.Sequential:
    """Convolutions of the given channels and kernels, with BatchNorm and ReLU."""
    chain = conv_bn(channels_in, *(Conv(channels, kernel, bias=True) for channels, kernel in convs))
    return nn.Sequential(*chain.values())


class CifarGoogLeNet(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes)."""

    def __init__(self, num_classes: int) -> None:
        channels = 192
        layers: dict[str, nn.Module] = {"pre_layers": _branch(3, (channels, 3))}
        for name, (b1, b2_in, b2, b3_in, b3, b4) in _INCEPTIONS.items():
            if name in ("a4", "a5"):
                layers[f"pool_{name}"] = nn.MaxPool2d(3, stride=2, padding=1)
            layers[name] = Inception(channels, b1, b2_in, b2, b3_in, b3, b4)
            channels = b1 + b2 + b3 + b4
        super().__init__(**layers, **head(channels, num_classes))


def cifar_googlenet(num_classes: int = 10) -> nn.Module:
    """GoogLeNet; 6,166,250 parameters."""
    return CifarGoogLeNet(num_classes)
