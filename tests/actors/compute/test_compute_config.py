"""The precisions, what "auto" selects, and how torch is set."""

from collections.abc import Iterator

import pytest
import torch

from raysmooth.actors.compute.compute_config import (
    PRECISIONS,
    ComputeConfig,
    check_precision,
    native_precision,
    settle_backend,
)
from raysmooth.common.errors import RaysmoothError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _restore_switches() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.allow_tf32 = before[0]
    torch.set_float32_matmul_precision(before[1])
    torch.backends.cudnn.benchmark = before[2]


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))


@pytest.mark.usefixtures("ampere")
@pytest.mark.parametrize(
    ("precision", "device", "tf32", "matmul", "benchmark"),
    [
        ("float32", CPU, False, "highest", False),
        ("bfloat16", CPU, False, "highest", False),
        ("float32", CUDA, False, "highest", False),
        ("tf32", CUDA, True, "high", True),
        ("bfloat16", CUDA, False, "highest", True),
        ("float16", CUDA, False, "highest", True),
    ],
)
def test_only_tf32_allows_tf32(precision: str, device: torch.device, tf32: bool, matmul: str, benchmark: bool) -> None:
    settle_backend(ComputeConfig(precision, False, 10), device)
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.get_float32_matmul_precision() == matmul
    assert torch.backends.cudnn.benchmark is benchmark


def test_the_entries() -> None:
    dtypes = {name: entry.dtype for name, entry in PRECISIONS.items()}
    assert dtypes == {
        "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
    }  # fmt: skip
    with pytest.raises(RaysmoothError, match="unknown precision 'float23': did you mean 'float32'"):
        check_precision("float23", CPU)


def test_tf32_is_refused_on_hardware_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    for device in (CPU, CUDA):
        with pytest.raises(
            RaysmoothError, match=r"precision tf32 needs an NVIDIA GPU, Ampere or newer.*write --precision float32"
        ):
            settle_backend(ComputeConfig("tf32", False, 10), device)


@pytest.mark.usefixtures("ampere")
def test_auto_on_a_gpu() -> None:
    assert native_precision(CUDA) == "bfloat16"


@pytest.mark.parametrize(("has", "precision"), [("amx_bf16", "bfloat16"), ("avx512", "float32")])
def test_auto_on_a_processor(has: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True}, raising=False)
    assert native_precision(CPU) == precision
