"""A classifier's features, found by their resolution and kept during its forward pass."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.stage_features import StageFeatures, Tap, find_taps
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

KNOWN = {
    "cifar_resnet20": ((3, 32, 32), ["layer1", "layer2", "layer3"]),
    "resnet18": ((3, 64, 64), ["relu", "layer1", "layer2", "layer3", "layer4", "avgpool"]),
    "lenet": ((1, 28, 28), ["conv1", "relu", "conv2", "relu"]),
    "digits_cnn": ((1, 8, 8), ["0", "3", "5"]),
}


def images(*shape: int) -> torch.Tensor:
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", KNOWN)
def test_the_last_features_of_each_resolution_are_found(name: str) -> None:
    shape, modules = KNOWN[name]
    classifier = build_classifier(Variant.parse(name)).eval()
    taps = find_taps(classifier, images(*shape))
    assert [tap.module for tap in taps] == modules
    assert not any(module._forward_hooks for module in classifier.modules())
    sides = [tap.height for tap in taps]
    assert sides == sorted(set(sides), reverse=True)


def test_calls_of_one_module_have_their_own_numbers() -> None:
    taps = find_taps(build_classifier(Variant.parse("lenet")).eval(), images(1, 28, 28))
    assert taps == (
        Tap("conv1", 0, 20, 24, 24), Tap("relu", 0, 20, 12, 12), Tap("conv2", 0, 50, 8, 8), Tap("relu", 1, 50, 4, 4),
    )  # fmt: skip


@torch.inference_mode()
def test_features_are_those_of_an_explicit_forward_pass() -> None:
    network, pixels = build_classifier(Variant.parse("cifar_resnet20")).eval(), images(3, 32, 32)
    x, expected = pixels, {}
    for name, layer in network.named_children():
        x = expected[name] = layer(x)
    taps = find_taps(network, pixels)
    with StageFeatures(network, taps) as kept:
        with pytest.raises(RaysmoothError, match="has not called its module 'layer1' 1 times"):
            _ = kept.features
        for _ in range(2):  # the second pass replaces the first one's
            assert torch.equal(network(pixels), x)
            for tap, feature in zip(taps, kept.features, strict=True):
                assert torch.equal(feature, expected[tap.module])
                assert feature.shape[1:] == (tap.channels, tap.height, tap.width)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())

    lenet, pixels = build_classifier(Variant.parse("lenet")).eval(), images(1, 28, 28)
    with StageFeatures(lenet, find_taps(lenet, pixels)) as kept:
        lenet(pixels)
        first, last = kept.features[1], kept.features[3]
    assert torch.equal(first, functional.max_pool2d(lenet.conv1(pixels), 2).relu())
    assert torch.equal(last, functional.max_pool2d(lenet.conv2(first), 2).relu())


def test_a_classifier_without_maps_has_no_features_and_a_missing_module_is_named() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert find_taps(flat, images(1, 8, 8)) == ()
    with pytest.raises(RaysmoothError, match="the classifier has no module 'layer1'"):
        StageFeatures(flat, [Tap("layer1", 0, 16, 32, 32)])
