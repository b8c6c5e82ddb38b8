"""VGG with BatchNorm for 32x32 images (Simonyan and Zisserman 2015), in the layout of the published weights."""

from torch import nn

from raysmooth.actors.models.networks.layers import Conv, Layers, conv_bn, head


class CifarVGG(Layers):
    """Normalised pixels (B, 3, 32, 32) -> logits (B, num_classes).

    Five groups of `counts` 3x3 convolutions (64, 128, 256, 512, 512 channels), each followed by a 2x2 max pool; one
    linear layer.
    """

    def __init__(self, counts: tuple[int, int, int, int, int], num_classes: int) -> None:
        features: list[nn.Module] = []
        channels_in = 3
        for channels, count in zip((64, 128, 256, 512, 512), counts, strict=True):
            features += conv_bn(channels_in, *[Conv(channels, 3, bias=True)] * count).values()
            features.append(nn.MaxPool2d(2))
            channels_in = channels
        super().__init__(features=nn.Sequential(*features), **head(512, num_classes, "classifier"))


def cifar_vgg16(num_classes: int = 10) -> nn.Module:
    """VGG-16; 14,728,266 parameters."""
    return CifarVGG((2, 2, 3, 3, 3), num_classes)


def cifar_vgg19(num_classes: int = 10) -> nn.Module:
    """VGG-19; 20,040,522 parameters."""
    return CifarVGG((2, 2, 4, 4, 4), num_classes)
