"""The precision of training: which one is chosen, and that it is used."""

import pytest
import torch

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.precision import TRAINING_PRECISIONS, settled_precision

torch.set_num_threads(1)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Probe(torch.nn.Module):
    """Linear; writes down what it is given and what it makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(50, 7)
        self.types: list[tuple[torch.dtype, torch.dtype]] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        answer = self.linear(pixels)
        self.types.append((pixels.dtype, answer.dtype))
        return answer


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(5, 50, generator=torch.Generator().manual_seed(0))


def test_bfloat16_is_used_inside_and_answers_are_float32(pixels: torch.Tensor) -> None:
    probe = Probe()
    answer = InPrecision(probe, CPU, "bfloat16")(pixels)
    assert probe.types == [(torch.float32, torch.bfloat16)]
    assert answer.dtype == torch.float32
    weight, bias = probe.linear.weight.bfloat16(), probe.linear.bias.bfloat16()
    assert torch.equal(answer, torch.nn.functional.linear(pixels.bfloat16(), weight, bias).float())
    assert not torch.equal(answer, probe.linear(pixels))

    torch.nn.functional.cross_entropy(answer, torch.zeros(5, dtype=torch.int64)).backward()
    for parameter in probe.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.any()


def test_float32_changes_nothing(pixels: torch.Tensor) -> None:
    probe = Probe()
    expected = probe.linear(pixels)
    network = InPrecision(probe, CPU, "float32")
    assert torch.equal(network(pixels), expected)
    with torch.autocast("cpu", torch.bfloat16):  # any outer autocast
        assert torch.equal(network(pixels), expected)
    assert probe.types == [(torch.float32, torch.float32)] * 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_labels_stay_labels(precision: str, pixels: torch.Tensor) -> None:
    class Labels(Probe):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().forward(pixels).argmax(dim=1) + 2**40

    labels = InPrecision(Labels(), CPU, precision)(pixels)
    assert labels.dtype == torch.int64
    assert (labels >= 2**40).all()


def test_parameters_are_the_networks_own() -> None:
    probe = Probe()
    network = InPrecision(probe, CPU, "bfloat16")
    assert [id(parameter) for parameter in network.parameters()] == [id(parameter) for parameter in probe.parameters()]
    assert (network.precision, network.network) == ("bfloat16", probe)


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_is_asked_for_is_taken(device: torch.device) -> None:
    dtypes = {name: entry.dtype for name, entry in TRAINING_PRECISIONS.items()}
    assert dtypes == {"float32": torch.float32, "bfloat16": torch.bfloat16}
    for name in TRAINING_PRECISIONS:
        assert settled_precision(name, device) == name
    for unknown in ("float16", "fp32", ""):
        with pytest.raises(RaysmoothError) as refused:
            settled_precision(unknown, device)
        assert str(refused.value) == f"unknown precision '{unknown}': write auto, float32 or bfloat16"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({}, "float32"),
        ({"avx512": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_auto_asks_the_processor(
    capabilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert settled_precision("auto", CPU) == precision


def test_auto_is_float32_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert settled_precision("auto", CPU) == "float32"


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 0), "float32"), ((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_auto_asks_the_gpu(capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert settled_precision("auto", CUDA) == precision
