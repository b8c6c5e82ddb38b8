"""A network for smoke tests of experiments."""

from torch import nn


def small_cnn(num_classes: int = 10, width: int = 4) -> nn.Module:
    """RGB pixels (B, 3, H, W) of any size -> logits (B, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )
