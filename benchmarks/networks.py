"""The networks that `make bench` measures, their targets, and the weights and images that every competitor gets.

Speed does not depend on the values of weights, as long as activations have ordinary sizes: weights are random, from a
seed, and BatchNorm's statistics are those of noisy images.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier, default_preprocess
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.preprocess import parse_preprocess
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import open_dataset

SEED = 0


@dataclass(frozen=True)
class Work:
    """A number of images, each with n0 selection draws and n estimation draws."""

    images: int
    n0: int
    n: int

    @property
    def draws(self) -> int:
        return self.images * (self.n0 + self.n)


@dataclass(frozen=True)
class Network:
    """`ours` is the work of the command in a round, `peers` that of a peer, whose loop takes equally long for every
    draw, so that fewer give its rate. `batches` are the batch sizes that peers choose from. `data` is (--dataset,
    folder in the data folder, --resize, --crop). `targets` are the least ratios of our rate to each competitor's.
    """

    name: str
    classifier: str
    data: tuple[str, str, int | None, int | None]
    sigma: float
    ours: Work
    peers: Work
    targets: dict[str, float]
    denoiser: str = "none"
    batches: tuple[int, ...] = (32, 128, 400, 1000)

    @property
    def quick(self) -> "Network":
        """The same network with a tenth of the draws."""
        tenth = {part: replace(work, n=max(20, work.n // 10)) for part, work in vars(self).items() if part in _WORK}
        return replace(self, **tenth)


_WORK = ("ours", "peers")
_MNIST = ("mnist", "mnist", None, None)
_CIFAR = ("cifar10-jpeg", "cifar10-jpeg", None, None)
_IMAGENET = ("folder", "imagenet-val-100", 256, 224)

CPU_NETWORKS = (
    Network(
        "mnist_cnn", "mnist_cnn", _MNIST, 0.5, Work(80, 100, 10_000), Work(2, 100, 10_000),
        {"reference": 5.0, "limit": 0.9, "art": 3.5},
    ),
    Network(
        "lenet", "lenet", _MNIST, 0.5, Work(200, 100, 10_000), Work(4, 100, 10_000), {"reference": 3.5, "limit": 0.8}
    ),
    Network(
        "DnCNN + ResNet-110, 32x32", "cifar_resnet110", _CIFAR, 0.25, Work(5, 100, 10_000), Work(1, 100, 2000),
        {"reference": 4.5, "limit": 0.9}, "dncnn",
    ),
    # A batch of 128 takes minutes here, and one of 1,000 some 100 GiB.
    Network(
        "DnCNN + ResNet-18, 224x224", "resnet18", _IMAGENET, 0.25, Work(2, 20, 80), Work(1, 1, 32),
        {}, "dncnn", (32,),
    ),
)  # fmt: skip

GPU_NETWORKS = (
    Network(
        "DnCNN + ResNet-110, 32x32", "cifar_resnet110", _CIFAR, 0.25, Work(100, 100, 10_000), Work(1, 100, 10_000),
        {"reference": 4.5, "limit": 0.9}, "dncnn",
    ),
    Network(
        "DnCNN + ResNet-50, 224x224", "resnet50", _IMAGENET, 0.25, Work(4, 100, 10_000), Work(1, 100, 2000),
        {}, "dncnn", (32, 128, 400),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A network with its weights on disk and its data: the source of the command's flags and of a worker's `spec`."""

    network: Network
    data_root: Path
    classifier_weights: Path
    denoiser_weights: Path | None

    @property
    def flags(self) -> list[str]:
        """Flags of `raysmooth certify` for data and networks, without those for the number of draws."""
        dataset, _, resize, crop = self.network.data
        given = {
            "dataset": dataset,
            "data-root": self.data_root,
            "resize": resize,
            "crop": crop,
            "sigma": self.network.sigma,
            "classifier": self.network.classifier,
            "classifier-weights": self.classifier_weights,
            "denoiser": self.network.denoiser,
            "denoiser-weights": self.denoiser_weights,
        }
        return [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]

    @property
    def spec(self) -> BaseClassifierSpec:
        weights = self.denoiser_weights
        return BaseClassifierSpec(
            self.network.classifier,
            str(self.classifier_weights),
            denoiser=self.network.denoiser,
            denoiser_weights=str(weights) if weights is not None else None,
        )

    def images(self, count: int) -> list[np.ndarray]:
        """The first images, each float32 (C, H, W) in pixel units."""
        return _images(self.network, self.data_root, count)

    def plain(self, device: torch.device) -> nn.Module:
        """Noisy pixels -> logits in the ordinary way: float32, contiguous, eager."""
        model = load_base_classifier(self.spec, device).model
        logits = nn.Sequential(model.denoiser, model.normalize, model.classifier)
        return logits.to(memory_format=torch.contiguous_format)

    def operations(self) -> int:
        """Floating-point operations of one draw; a multiplication and an addition count as two."""
        image = torch.from_numpy(self.images(1)[0])[None]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.plain(torch.device("cpu"))(image)
        return int(counter.get_total_flops())


def subject(network: Network, data: Path, folder: Path) -> Subject:
    """`network` with random weights, written below `folder`."""
    data_root = data / network.data[1]
    architecture = Variant.parse(network.classifier)
    torch.manual_seed(SEED)
    classifier = build_classifier(architecture)
    denoiser = None
    if network.denoiser != "none":
        denoiser = build_denoiser(Variant.parse(network.denoiser))
        # An untrained denoiser is the identity, since its last layer is zero; a trained one is not.
        last = [layer for layer in denoiser.modules() if isinstance(layer, nn.Conv2d)][-1]
        nn.init.normal_(last.weight, std=0.01)
    whole = DenoisedClassifier(denoiser, parse_preprocess(default_preprocess(architecture)), classifier)
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average over all batches so far, of which there is one
    clean = torch.from_numpy(np.stack(_images(network, data_root, 4)))
    with torch.no_grad():
        whole.train()(clean + network.sigma * torch.randn_like(clean))
    paths = [folder / network.classifier / f"{part}.safetensors" for part in ("classifier", "denoiser")]
    save_weights(paths[0], classifier, {})
    if denoiser is None:
        return Subject(network, data_root, paths[0], None)
    save_weights(paths[1], denoiser, {})
    return Subject(network, data_root, *paths)


def _images(network: Network, data_root: Path, count: int) -> list[np.ndarray]:
    dataset, _, resize, crop = network.data
    source = open_dataset(dataset, data_root, None, resize, crop)
    return [source.read(position).image for position in range(count)]
