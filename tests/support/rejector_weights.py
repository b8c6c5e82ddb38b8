"""Trained rejectors for tests: a network that looks at the features of a classifier, and files of weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.stage_features import StageFeatures, find_taps
from raysmooth.actors.models.weights import save_weights


def rejector_network(
    classifier: nn.Module,
    shape: tuple[int, ...],
    classes: int = 10,
    width: int = 4,
    pixels: torch.Tensor | None = None,
    normalised: torch.Tensor | None = None,
) -> RejectorNetwork:
    """A rejector of `classifier` for images (C, H, W) of this shape, of depth 10, in eval mode, with BatchNorms as
    after training. Every head rejects half of `pixels`, (B, C, H, W), which the classifier sees `normalised`.
    """
    generator = torch.Generator().manual_seed(5)
    pixels = torch.rand(200, *shape, generator=generator) if pixels is None else pixels
    normalised = pixels if normalised is None else normalised
    taps = find_taps(classifier.eval(), normalised)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = RejectorNetwork(taps, classes, shape, width, 10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    with torch.no_grad(), StageFeatures(classifier, network.taps) as stages:
        classifier(normalised)
        heads = network.eval()(pixels, stages.features)
    last = network.head[-1]
    assert isinstance(last, nn.Linear)
    spread = heads.std(dim=0)
    last.weight.data /= spread[:, None]
    last.bias.data = (last.bias.data - heads.median(dim=0).values) / spread
    return network.requires_grad_(False)


def rejector_file(path: Path, network: RejectorNetwork, **card: Any) -> str:
    """The weights of `network` at `path`, with its card and the further entries `card`."""
    save_weights(path, network, {**network.card, **card})
    return str(path)
