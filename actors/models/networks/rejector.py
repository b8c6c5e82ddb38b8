"""The rejector of Sheikholeslami et al.: a ResNet on the denoised image that sees the frozen classifier's features."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from raysmooth.actors.models.networks.cifar_resnet import Residual
from raysmooth.actors.models.networks.layers import Conv, GlobalMean, conv_bn, initialise, stage
from raysmooth.actors.models.stage_features import Tap
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks of each stage, by depth."""

LARGEST_WIDTH = 1024
_SMALL = 64
"""Images up to this size keep their resolution in the stem."""


class RejectorNetwork(nn.Module):
    """Denoised pixels (B, C, H, W) and features of the classifier -> one logit for each class (B, K), float32: that of
    class k says whether a draw of class k is rejected.

    The paper's "ResNet-34-like" backbone, in four stages of `width`, 2, 4 and 8 `width` channels: after each stage the
    classifier's features of the same resolution, if it has any, are concatenated with the stage's; then the global
    mean and three fully connected layers. The paper states neither width nor stem: images of up to 64 pixels have a 3x3
    convolution, larger ones that of He et al. 2016, 7x7 and a pooling. Without taps it sees the image alone.

    `taps`: those of the classifier (`find_taps`), of which the ones at a stage's resolution are used; `image_shape` is
    (C, H, W). Raises RaysmoothError for another depth than 10, 18 and 34, and a width outside 1 to 1,024.
    """

    def __init__(
        self, taps: Sequence[Tap], num_classes: int, image_shape: Sequence[int], width: int = 64, depth: int = 34
    ) -> None:
        super().__init__()
        if depth not in BLOCKS or not 1 <= width <= LARGEST_WIDTH:
            depths = ", ".join(map(str, BLOCKS))
            raise RaysmoothError(
                f"no rejector network has depth={depth}, width={width}: write one of the depths {depths} and a width "
                f"from 1 to {LARGEST_WIDTH:,}"
            )
        self.num_classes, self.image_shape, self.width, self.depth = num_classes, tuple(image_shape), width, depth
        channels, *size = self.image_shape
        small = max(size) <= _SMALL
        kernel, stride = (3, 1) if small else (7, 2)
        self.stem = nn.Sequential(*conv_bn(channels, Conv(width, kernel, stride)).values())
        if not small:
            self.stem.append(nn.MaxPool2d(3, 2, 1))
            size = [_halved(_halved(side)) for side in size]
        by_size = {(tap.height, tap.width): tap for tap in taps}
        self._taps: list[Tap | None] = []
        self.stages = nn.ModuleList()
        channels = width
        for number, blocks in enumerate(BLOCKS[depth]):
            size = [_halved(side) for side in size] if number else size
            own = width * 2**number
            self.stages.append(stage(_basic, channels, own, blocks, 2 if number else 1))
            self._taps.append(by_size.get((size[0], size[1])))
            channels = own + (tap.channels if (tap := self._taps[-1]) is not None else 0)
        hidden = 8 * width
        self.head = nn.Sequential(
            GlobalMean(),
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip
        initialise(self)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Where the features come from that `forward` takes, in their order."""
        return tuple(tap for tap in self._taps if tap is not None)

    @property
    def card(self) -> dict[str, Any]:
        """What a weights file must say for the network to be built again (JSON values)."""
        return {
            "architecture": str(Variant("network", (("depth", self.depth), ("width", self.width)))),
            "taps": [asdict(tap) for tap in self.taps],
            "num_classes": self.num_classes,
            "image_shape": list(self.image_shape),
        }

    def forward(self, denoised: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """`features`: one (B, channels, height, width) for each of `taps`. Gradients reach whatever has them."""
        if denoised.shape[1:] != self.image_shape:
            raise RaysmoothError(
                f"the rejector was made for images of shape {self.image_shape}, not {tuple(denoised.shape[1:])}: give "
                "the rejector of this data, or write --resize and --crop"
            )
        dtype, given = next(self.stem.parameters()).dtype, iter(features)
        x = self.stem(denoised.to(dtype))
        for stage_, tap in zip(self.stages, self._taps, strict=True):
            x = stage_(x)
            if tap is not None:
                feature = next(given)
                if feature.shape[1:] != (expected := (tap.channels, tap.height, tap.width)):
                    raise RaysmoothError(
                        f"the classifier's features at '{tap.module}' have the shape {tuple(feature.shape[1:])}, the "
                        f"rejector expects {expected}: give the rejector of this classifier"
                    )
                x = torch.cat([x, feature.to(dtype)], dim=1)
        return self.head(x).float()


def _basic(channels_in: int, channels: int, stride: int) -> nn.Module:
    return Residual(channels_in, stride, Conv(channels, 3, stride), Conv(channels, 3, relu=False), shortcut="shortcut")


def _halved(side: int) -> int:
    """The resolution after a padded convolution or pooling of stride 2."""
    return (side - 1) // 2 + 1
