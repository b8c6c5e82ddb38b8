import json

import pytest
import torch
from conftest import REPOSITORY

from raysmooth.actors.models.denoisers import DENOISERS, build_denoiser
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

torch.set_num_threads(1)
PUBLISHED = REPOSITORY.parent / "shared/data/published-weights-keys.json"


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("dncnn", 558_400),
        ("dncnn_wide", 2_222_720),
        # 16*9+16, 3 * (16*16*9 + 2*16), 16*9
        ("dncnn:depth=5,width=16,channels=1", 160 + 7_008 + 144),
        ("dncnn:depth=2,width=1,channels=1", 10 + 9),
        # 16*9+16, 16*16*9+2*16, 16*9
        ("dncnn_wide:depth=3,width=16,channels=1", 160 + 2_336 + 144),
        ("memnet", 1_436_678),
        # BatchNorm and convolution: features 2 + 9*4, each residual block 2 * (8 + 4*4*9), gates of 3 and of 4
        # inputs of 4 channels 24 + 12*4 and 32 + 16*4, the last convolution 8 + 4*9
        ("memnet:width=4,memory_blocks=2,residual_blocks=2,channels=1", 38 + 4 * 304 + 72 + 96 + 44),
    ],
)
def test_parameter_count(text: str, parameters: int) -> None:
    assert sum(p.numel() for p in build_denoiser(Variant.parse(text)).parameters()) == parameters


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no {PUBLISHED}")
@pytest.mark.parametrize("name", DENOISERS)
def test_keys_and_shapes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        state = build_denoiser(Variant.parse(name)).state_dict()
    published = json.loads(PUBLISHED.read_text())[DENOISERS[name].published[0]]
    assert {key: list(tensor.shape) for key, tensor in state.items()} == published


@pytest.mark.parametrize("text", ["dncnn:depth=4,width=3,channels=2", "memnet:width=3,residual_blocks=2,channels=2"])
def test_untrained_it_returns_its_input(text: str) -> None:
    denoiser = build_denoiser(Variant.parse(text))
    x = torch.randn(2, 2, 5, 5)
    assert torch.equal(denoiser.train()(x), x)
    assert torch.equal(denoiser.eval()(x), x)


def test_a_case_worked_by_hand() -> None:
    """One channel, width 1, only centre taps: net(x) = 3 * relu(bn(2 * relu(x - 1)))."""
    denoiser = build_denoiser(Variant.parse("dncnn:depth=3,width=1,channels=1")).eval()
    state = {key: torch.zeros_like(tensor) for key, tensor in denoiser.state_dict().items()}
    for key, tap in (("dncnn.0.weight", 1.0), ("dncnn.2.weight", 2.0), ("dncnn.5.weight", 3.0)):
        state[key][0, 0, 1, 1] = tap
    state["dncnn.0.bias"][0] = -1.0
    # BatchNorm: (y - 1) / sqrt(0.9999 + 0.0001) * 0.5 + 0.25
    state |= {f"dncnn.3.{key}": torch.tensor([value]) for key, value in
              (("running_mean", 1.0), ("running_var", 0.9999), ("weight", 0.5), ("bias", 0.25))}  # fmt: skip
    denoiser.load_state_dict(state)
    x = torch.tensor([[[[0.5, 2.0, 3.0]]]])
    # 0.5: relu 0,   conv 0, bn -0.25, relu 0    -> 0.5
    # 2.0: relu 1.0, conv 2, bn 0.75             -> 2.0 - 3 * 0.75 = -0.25
    # 3.0: relu 2.0, conv 4, bn 1.75             -> 3.0 - 3 * 1.75 = -2.25
    torch.testing.assert_close(denoiser(x), torch.tensor([[[[0.5, -0.25, -2.25]]]]))


def test_memnet_worked_by_hand() -> None:
    """One channel, width 1, two memory blocks of one residual block each, only centre taps, BatchNorm the identity."""
    text = "memnet:width=1,memory_blocks=2,residual_blocks=1,channels=1"
    denoiser = build_denoiser(Variant.parse(text)).eval()
    state = {key: torch.zeros_like(tensor) for key, tensor in denoiser.state_dict().items()}
    for key, tensor in state.items():
        if key.endswith(("bn.weight", "running_var")):
            tensor.fill_(1.0 if key.endswith("weight") else 1 - 1e-5)
    first, second = "dense_memory.0", "dense_memory.1"
    for unit, taps, bias in (
        ("feature_extractor", [2.0], -1.0),
        (f"{first}.recursive_unit.0.relu_conv1", [-1.0], 0.0),
        (f"{first}.recursive_unit.0.relu_conv2", [3.0], 5.0),
        (f"{first}.gate_unit", [1.0, 10.0], 0.0),
        (f"{second}.recursive_unit.0.relu_conv1", [1.0], 0.0),
        (f"{second}.recursive_unit.0.relu_conv2", [1.0], 0.0),
        (f"{second}.gate_unit", [1.0, 10.0, -100.0], 1.0),
        ("reconstructor", [0.5], 0.0),
    ):
        kernel = state[f"{unit}.conv.weight"]
        kernel[0, :, kernel.shape[2] // 2, kernel.shape[3] // 2] = torch.tensor(taps)
        state[f"{unit}.bn.bias"].fill_(bias)
    denoiser.load_state_dict(state)
    x = torch.tensor([[[[0.0, 2.0]]]])
    # 0: features 2 relu(-1) = 0. First block: 0 + 3 relu(-relu(0) + 5) = 15, gate 15 + 10 * 0 = 15. Second block:
    #    15 + 15 = 30, gate of 30, 0 and 15, each with 1 added: 31 + 10 - 100 * 16 < 0; so 0 + 0.5 relu(.) = 0.
    # 2: features 2 relu(1) = 2. First block: 2 + 3 relu(-2 + 5) = 11, gate 11 + 10 * 2 = 31. Second block:
    #    31 + 31 = 62, gate of 62, 2 and 31: 63 + 30 - 3200 < 0.
    torch.testing.assert_close(denoiser(x), x)
    # With the last tap 100 the gate gives 31 + 10 + 1600 and 63 + 30 + 3200.
    state[f"{second}.gate_unit.conv.weight"][0, 2] = 100.0
    denoiser.load_state_dict(state)
    torch.testing.assert_close(denoiser(x), torch.tensor([[[[820.5, 1648.5]]]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dncn", r"unknown denoiser 'dncn': did you mean 'dncnn'\? \(known: dncnn, dncnn_wide, memnet, none\)"),
        ("zzz", r"'zzz': known: dncnn, dncnn_wide, memnet, none$"),
        ("dncnn:layers=3", "denoiser 'dncnn' has no option 'layers': options are depth, width, channels"),
        ("dncnn:depth=1", "no DnCNN has depth=1"),
        ("dncnn:width=0", "no DnCNN has depth=17, width=0"),
        ("dncnn:depth=deep", "cannot be built"),
        ("dncnn_wide:layers=3", "denoiser 'dncnn_wide' has no option 'layers': options are depth, width, channels"),
        ("memnet:depth=3", "no option 'depth': options are width, memory_blocks, residual_blocks, channels"),
        ("dncnn:depth=1025", "no DnCNN has depth=1025"),
        ("memnet:memory_blocks=9223372036854775808", "write 1 to 64 blocks"),
        ("memnet:residual_blocks=0", "no MemNet has width=64, memory_blocks=3, residual_blocks=0, channels=3"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        build_denoiser(Variant.parse(text))
