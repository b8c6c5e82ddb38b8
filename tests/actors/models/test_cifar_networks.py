"""The CIFAR networks compute what the published ones do: orders, shortcuts and gates worked out by hand.

Keys and shapes, which fix the tensors but not what is done with them, are compared in test_classifiers.py.
"""

import re
from copy import deepcopy
from functools import cache
from math import log

import pytest
import torch

from raysmooth.actors.models.classifiers import CLASSIFIERS, build_classifier
from raysmooth.common.variant import Variant

torch.set_num_threads(1)

CIFAR = [name for name in CLASSIFIERS if name.startswith("cifar_")]


@cache
def outline(name: str) -> torch.nn.Module:
    """The network without its numbers."""
    with torch.device("meta"):
        return build_classifier(Variant.parse(name)).eval()


def part(name: str, path: str, taps: dict[str, float]) -> torch.nn.Module:
    """A part of the network with BatchNorms that do nothing and weights of 0, but for `taps`.

    A tap is the first channel's number: of a convolution, the one in the middle of its first kernel.
    """
    module = deepcopy(outline(name).get_submodule(path)).to_empty(device="cpu")
    state = module.state_dict()
    for key, tensor in state.items():
        tensor.fill_(1 if tensor.ndim == 1 and key.endswith("weight") else 0)
        if key.endswith("running_var"):
            tensor.fill_(1 - 1e-5)  # and 1e-5 is what BatchNorm adds
    for key, value in taps.items():
        tensor = state[key]
        middle = tensor.shape[-1] // 2 if tensor.ndim == 4 else 0
        tensor[(0, 0, middle, middle) if tensor.ndim == 4 else (0,)] = value
    module.load_state_dict(state)
    return module


def first_channel(rows: list[list[float]], channels: int) -> torch.Tensor:
    """Images of one row of pixels each, all channels but the first 0."""
    x = torch.zeros(len(rows), channels, 1, len(rows[0]))
    x[:, 0, 0] = torch.tensor(rows)
    return x


# Two convolutions with the activation after each, and before each; three convolutions.
AFTER = {"conv1.weight": 2.0, "bn1.bias": -1.0, "conv2.weight": -3.0, "bn2.bias": 1.0}
BEFORE = {"bn1.bias": -1.0, "conv1.weight": 2.0, "bn2.bias": -2.0, "conv2.weight": -3.0}
THREE = {"conv1.weight": 2.0, "bn1.bias": -1.0, "conv2.weight": -1.0, "bn2.bias": 2.0} | {
    "conv3.weight": 3.0, "bn3.bias": -4.0}  # fmt: skip
PROJECTED = {"shortcut.0.weight": -1.0, "shortcut.1.bias": 0.5}

BLOCKS = [
    # relu(1 - 3 relu(2x - 1) + x)
    ("cifar_resnet20", "layer1.0", 16, AFTER, [[-2, 0.25, 0.75, 1]], [[0, 1.25, 0.25, 0]]),
    ("cifar_resnet18", "layer1.0", 64, AFTER, [[-2, 0.25, 0.75, 1]], [[0, 1.25, 0.25, 0]]),
    # relu(1 - 3 relu(2x - 1) + (0.5 - x))
    ("cifar_resnet18", "layer2.0", 64, AFTER | PROJECTED, [[-2], [0.5], [1]], [[3.5], [1], [0]]),
    # relu(3 relu(2 - relu(2x - 1)) - 4 + x)
    ("cifar_resnext29_2x64d", "layer1.1", 256, THREE, [[-3, -1, 0.75, 5]], [[0, 1, 1.25, 1]]),
    # a = relu(x - 1); x - 3 relu(2a - 2), and 5a in place of x where the shape changes
    ("cifar_preactresnet18", "layer1.0", 64, BEFORE, [[-2, 1.5, 3]], [[-2, 1.5, -3]]),
    ("cifar_preactresnet18", "layer2.0", 64, BEFORE | {"shortcut.0.weight": 5.0}, [[-2], [3]], [[0], [4]]),
    ("cifar_wrn28_10", "block1.layer.1", 160, BEFORE, [[-2, 1.5, 3]], [[-2, 1.5, -3]]),
    ("cifar_wrn28_10", "block1.layer.0", 16, BEFORE | {"convShortcut.weight": 5.0}, [[-2, 3]], [[0, 4]]),
    ("cifar_wrn28_10", "block2.layer.0", 160, BEFORE | {"convShortcut.weight": 5.0}, [[-2], [3]], [[0], [4]]),
    # a = relu(x), of mean 2; sigmoid(log 3) = 0.75: 0.75a + x. Then the same where only fc2's bias comes through.
    ("cifar_senet18", "layer1.0", 64, {"conv1.weight": 1.0, "conv2.weight": 1.0, "fc1.weight": 1.0,
     "fc2.weight": log(3) / 2}, [[1, 3]], [[1.75, 5.25]]),
    ("cifar_senet18", "layer1.0", 64, {"conv1.weight": 1.0, "conv2.weight": 1.0, "fc1.weight": -1.0,
     "fc2.weight": 7.0, "fc2.bias": log(3)}, [[1, 3]], [[1.75, 5.25]]),
    # relu(1 - 3 relu(2x - 1))
    ("cifar_mobilenet", "layers.0", 32, AFTER, [[-2, 0.625, 1]], [[1, 0.25, 0]]),
    # g = 3 relu(2 - relu(2x - 1)) - 4, with x added, with 0.5 - x added, alone
    ("cifar_mobilenet_v2", "layers.2", 24, THREE, [[-3, -1, 0.75, 5]], [[-1, 1, 1.25, 1]]),
    ("cifar_mobilenet_v2", "layers.1", 16, THREE | PROJECTED, [[-1, 5]], [[3.5, -8.5]]),
    ("cifar_mobilenet_v2", "layers.3", 24, THREE, [[-1], [5]], [[2], [-4]]),
    # g = 2, -4, of mean -1: 0.75g + x; 0.75g + (0.5 - x)
    ("cifar_efficientnet_b0", "layers.2", 24, THREE | {"fc1.weight": -1.0, "fc2.weight": log(3)},
     [[-1, 5]], [[0.5, 2]]),
    ("cifar_efficientnet_b0", "layers.1", 16, THREE | PROJECTED | {"fc1.weight": -1.0, "fc2.weight": log(3)},
     [[-1, 5]], [[3, -7.5]]),
    # At stride 2 g itself is added: 0.75 * 2 + 2; with fc1's negative output cut off, 0.5 * -4 - 4
    ("cifar_efficientnet_b0", "layers.3", 24, THREE | {"fc1.weight": 0.5, "fc2.weight": log(3)},
     [[-1], [5]], [[3.5], [-6]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "channels", "taps", "x", "expected"), BLOCKS)
def test_a_block_worked_by_hand(
    name: str, path: str, channels: int, taps: dict[str, float], x: list[list[float]], expected: list[list[float]]
) -> None:
    out = part(name, path, taps)(first_channel(x, channels))
    torch.testing.assert_close(out[:, 0, 0], torch.tensor(expected, dtype=torch.float32))


def test_densenet_puts_new_channels_before_old_ones() -> None:
    x = first_channel([[-2, 1.5, 3]], 96)
    out = part("cifar_densenet121", "dense1.1", BEFORE)(x)
    assert torch.equal(out[:, 32:], x)
    # -3 relu(2 relu(x - 1) - 2)
    torch.testing.assert_close(out[0, 0, 0], torch.tensor([0.0, 0.0, -6.0]))
    assert not out[:, 1:32].any()


def test_densenet_pools_after_the_convolution_of_a_transition() -> None:
    x = torch.zeros(1, 256, 2, 2)
    x[0, 0] = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    out = part("cifar_densenet121", "trans1", {"bn.bias": -1.0, "conv.weight": 2.0})(x)
    # 2 relu(x - 1) = 0, 2, 4, 0
    assert out.shape == (1, 128, 1, 1)
    torch.testing.assert_close(out[0, 0, 0, 0], torch.tensor(1.5))


def test_shufflenet_interleaves_old_and_new_channels() -> None:
    taps = {"conv1.weight": 2.0, "bn1.bias": -1.0, "conv2.weight": -1.0, "conv3.weight": -3.0}
    x = torch.arange(1.0, 117.0).reshape(1, 116, 1, 1)
    out = part("cifar_shufflenet_v2", "layer1.1", taps)(x).flatten()
    assert out[0::2].tolist() == list(range(1, 59))
    # Of channel 58, which is 59: 3 relu(2 * 59 - 1), as no ReLU follows the depthwise convolution
    assert out[1::2].tolist() == [351.0, *[0.0] * 57]


def test_shufflenet_interleaves_both_chains_when_it_halves_the_size() -> None:
    left = {"conv1.weight": -1.0, "conv2.weight": -2.0, "bn2.bias": 1.0}
    right = {"conv3.weight": 2.0, "bn3.bias": -1.0, "conv4.weight": -1.0, "conv5.weight": -3.0}
    out = part("cifar_shufflenet_v2", "layer1.0", left | right)(first_channel([[3], [-3]], 24))
    # relu(2x + 1), 3 relu(2x - 1)
    torch.testing.assert_close(out[:, :3, 0, 0], torch.tensor([[7.0, 15.0, 0.0], [0.0, 0.0, 0.0]]))


def test_googlenet_concatenates_four_branches() -> None:
    out = part("cifar_googlenet", "a3", {})(torch.zeros(1, 192, 1, 1))
    assert out.shape == (1, 64 + 128 + 32 + 32, 1, 1)
    block = outline("cifar_googlenet").get_submodule("a3")
    kinds = {name: letters(branch) for name, branch in block.named_children()}
    assert kinds == {"b1": "CBR", "b2": "CBRCBR", "b3": "CBRCBRCBR", "b4": "MCBR"}
    starts = {"b1.1.bias": 0, "b2.4.bias": 64, "b3.7.bias": 192, "b4.2.bias": 224}
    for key, start in starts.items():
        out = part("cifar_googlenet", "a3", {key: 1.0})(torch.zeros(1, 192, 1, 1)).flatten()
        assert out.nonzero().flatten().tolist() == [start]


def test_googlenet_pools_with_a_border() -> None:
    branch = part("cifar_googlenet", "a3.b4", {"1.weight": 1.0})
    x = first_channel([[5, 0, 0, 0, 1]], 192)
    assert branch(x)[0, 0, 0].tolist() == [5, 5, 0, 1, 1]
    # 3 pixels wide, every second, with a border of one: around pixels 0, 2 and 4
    assert outline("cifar_googlenet").get_submodule("pool_a4")(x)[0, 0, 0].tolist() == [5, 0, 1]


@pytest.mark.parametrize(("name", "counts"), [("cifar_vgg16", (2, 2, 3, 3, 3)), ("cifar_vgg19", (2, 2, 4, 4, 4))])
def test_vgg_pools_after_each_group(name: str, counts: tuple[int, ...]) -> None:
    features = outline(name).get_submodule("features")
    assert letters(features) == "".join("CBR" * count + "M" for count in counts)
    assert all(layer.kernel_size == layer.stride == 2 for layer in features if isinstance(layer, torch.nn.MaxPool2d))


def letters(layers: torch.nn.Module) -> str:
    """C for a convolution, B for BatchNorm, R for ReLU, M for a max pool."""
    return "".join(type(layer).__name__[0] for layer in layers.children())


# What happens to an image (3, 32, 32), step by step, with the channels and size where a step changes them.
STEPS = {
    "cifar_resnet20": "conv1:16x32 bn1 relu1 layer1 layer2:32x16 layer3:64x8 pool:64 fc:10",
    "cifar_resnet110": "conv1:16x32 bn1 relu1 layer1 layer2:32x16 layer3:64x8 pool:64 fc:10",
    "cifar_resnet18": "conv1:64x32 bn1 relu1 layer1 layer2:128x16 layer3:256x8 layer4:512x4 pool:512 linear:10",
    "cifar_resnext29_2x64d": "conv1:64x32 bn1 relu1 layer1:256x32 layer2:512x16 layer3:1024x8 pool:1024 linear:10",
    "cifar_preactresnet18": "conv1:64x32 layer1 layer2:128x16 layer3:256x8 layer4:512x4 pool:512 linear:10",
    "cifar_senet18": "conv1:64x32 bn1 relu1 layer1 layer2:128x16 layer3:256x8 layer4:512x4 pool:512 linear:10",
    "cifar_wrn28_10": "conv1:16x32 block1:160x32 block2:320x16 block3:640x8 bn1 relu pool:640 fc:10",
    "cifar_wrn40_10": "conv1:16x32 block1:160x32 block2:320x16 block3:640x8 bn1 relu pool:640 fc:10",
    "cifar_vgg16": "features:512x1 pool:512 classifier:10",
    "cifar_vgg19": "features:512x1 pool:512 classifier:10",
    "cifar_googlenet": (
        "pre_layers:192x32 a3:256x32 b3:480x32 pool_a4:480x16 a4:512x16 b4 c4 d4:528x16 e4:832x16 "
        "pool_a5:832x8 a5 b5:1024x8 pool:1024 linear:10"
    ),
    "cifar_densenet121": (
        "conv1:64x32 dense1:256x32 trans1:128x16 dense2:512x16 trans2:256x8 dense3:1024x8 trans3:512x4 dense4:1024x4 "
        "bn relu pool:1024 linear:10"
    ),
    "cifar_mobilenet": "conv1:32x32 bn1 relu1 layers:1024x2 pool:1024 linear:10",
    "cifar_mobilenet_v2": "conv1:32x32 bn1 relu1 layers:320x4 conv2:1280x4 bn2 relu2 pool:1280 linear:10",
    "cifar_shufflenet_v2": (
        "conv1:24x32 bn1 relu1 layer1:116x16 layer2:232x8 layer3:464x4 conv2:1024x4 bn2 relu2 pool:1024 linear:10"
    ),
    "cifar_efficientnet_b0": "conv1:32x32 bn1 relu1 layers:320x1 pool:320 linear:10",
}


@pytest.mark.parametrize("name", CIFAR)
def test_steps(name: str) -> None:
    x = torch.empty(1, 3, 32, 32, device="meta")
    steps = []
    for step, layer in outline(name).named_children():
        out = layer(x)
        steps.append(step if out.shape == x.shape else f"{step}:{'x'.join(map(str, out.shape[1:4][:2]))}")
        assert out.ndim == 2 or out.shape[2] == out.shape[3]
        x = out
    assert " ".join(steps) == STEPS[name]


# The convolutions that halve the size; all others keep it.
STRIDED = {
    "cifar_resnet20": r"layer[23]\.0\.(conv1|downsample\.0)",
    "cifar_resnet110": r"layer[23]\.0\.(conv1|downsample\.0)",
    "cifar_resnet18": r"layer[234]\.0\.(conv1|shortcut\.0)",
    "cifar_resnext29_2x64d": r"layer[23]\.0\.(conv2|shortcut\.0)",
    "cifar_preactresnet18": r"layer[234]\.0\.(conv1|shortcut\.0)",
    "cifar_senet18": r"layer[234]\.0\.(conv1|shortcut\.0)",
    "cifar_wrn28_10": r"block[23]\.layer\.0\.(conv1|convShortcut)",
    "cifar_wrn40_10": r"block[23]\.layer\.0\.(conv1|convShortcut)",
    "cifar_mobilenet": r"layers\.(1|3|5|11)\.conv1",
    "cifar_mobilenet_v2": r"layers\.(3|6|13)\.conv2",
    "cifar_shufflenet_v2": r"layer[123]\.0\.(conv1|conv4)",
    "cifar_efficientnet_b0": r"layers\.(0|3|5|11|15)\.conv2",
}


@pytest.mark.parametrize("name", CIFAR)
def test_which_convolutions_halve_the_size(name: str) -> None:
    for path, layer in outline(name).named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            strided = bool(re.fullmatch(STRIDED.get(name, "none"), path))
            assert layer.stride == ((2, 2) if strided else (1, 1)), path
            assert layer.padding == tuple(side // 2 for side in layer.kernel_size), path


@pytest.mark.parametrize("name", ["cifar_resnext29_2x64d", "cifar_shufflenet_v2", "cifar_efficientnet_b0"])
def test_channels_last_and_number_of_classes(name: str) -> None:
    torch.manual_seed(0)
    network = build_classifier(Variant.parse(f"{name}:num_classes=3")).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        plain = network(x)
        network.to(memory_format=torch.channels_last)
        assert plain.shape == (1, 3)
        torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last)), plain)
