"""Two classifiers for 28x28 grey images.

Max pooling comes before the ReLU: the same numbers for a quarter of the work.
"""

import torch
from torch import nn


class _Stack(nn.Module):
    """Convolutions, then fully connected layers: pixels (B, 1, 28, 28) -> logits (B, num_classes)."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class LeNet(nn.Module):
    """Two convolutions and two fully connected layers, under the keys of the consistency supplement's checkpoints."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.pool(self.conv1(x)))
        x = self.relu(self.pool(self.conv2(x)))
        return self.fc2(self.relu(self.fc1(x.flatten(1))))


def lenet(num_classes: int = 10) -> nn.Module:
    """The LeNet of the MNIST tables of MACER and of the consistency supplement; 431,080 parameters.

    Two 5x5 convolutions without padding (20 and 50 channels), each followed by a 2x2 max pool; 500 hidden.
    """
    return LeNet(num_classes)


def mnist_cnn(num_classes: int = 10) -> nn.Module:
    """A heavier network for benchmarks; 734,602 parameters.

    3x3 padded convolutions of 32, 32, pool, 64, 64 channels, pool; 200 and 200 hidden units.
    """
    return _Stack(
        nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        ),
        nn.Sequential(
            nn.Linear(64 * 7 * 7, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, num_classes)
        ),
    )  # fmt: skip
