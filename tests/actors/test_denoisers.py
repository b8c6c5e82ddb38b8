import json
from pathlib import Path

import pytest
import torch

from actors.architecture import Architecture
from actors.denoisers import build_denoiser
from actors.refusal import Refusal

torch.set_num_threads(1)
PUBLISHED = Path(__file__).parents[2].parent / "shared/data/published-weights-keys.json"


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("dncnn", 558_400),
        ("dncnn:width=128", 2_222_720),
        # 16*9+16, 3 * (16*16*9 + 2*16), 16*9
        ("dncnn:depth=5,width=16,channels=1", 160 + 7_008 + 144),
        ("dncnn:depth=2,width=1,channels=1", 10 + 9),
    ],
)
def test_parameter_count(text: str, parameters: int) -> None:
    assert sum(p.numel() for p in build_denoiser(Architecture.parse(text)).parameters()) == parameters


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no {PUBLISHED}")
@pytest.mark.parametrize(("name", "text"), [("cifar_dncnn", "dncnn"), ("cifar_dncnn_wide", "dncnn:width=128")])
def test_keys_and_shapes_are_the_published_ones(name: str, text: str) -> None:
    state = build_denoiser(Architecture.parse(text)).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == json.loads(PUBLISHED.read_text())[name]


def test_untrained_it_returns_its_input() -> None:
    denoiser = build_denoiser(Architecture.parse("dncnn:depth=4,width=3,channels=2"))
    x = torch.randn(2, 2, 5, 5)
    assert torch.equal(denoiser.train()(x), x)
    assert torch.equal(denoiser.eval()(x), x)


def test_a_case_worked_by_hand() -> None:
    """One channel, width 1, only centre taps: net(x) = 3 * relu(bn(2 * relu(x - 1)))."""
    denoiser = build_denoiser(Architecture.parse("dncnn:depth=3,width=1,channels=1")).eval()
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dncn", r"unknown denoiser 'dncn': did you mean 'dncnn'\? \(known: dncnn, none\)"),
        ("zzz", r"\(known: dncnn, none\)"),
        ("dncnn:layers=3", "denoiser 'dncnn' has no option 'layers': options are depth, width, channels"),
        ("dncnn:depth=1", "no DnCNN has depth=1"),
        ("dncnn:width=0", "no DnCNN has depth=17, width=0"),
        ("dncnn:depth=deep", "cannot be built"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        build_denoiser(Architecture.parse(text))
