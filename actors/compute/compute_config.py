"""How every draw of a run is computed: precision, compilation, batch size. A certificate is valid for this only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")


@dataclass(frozen=True)
class Precision:
    """`dtype_name`: the networks' data type, as torch names it. `tf32`: whether NVIDIA's tensor cores may multiply
    float32 with 10 of the 23 bits of its mantissa.
    """

    dtype_name: str
    tf32: bool = False

    @property
    def dtype(self) -> "torch.dtype":
        return cast("torch.dtype", getattr(torch, self.dtype_name))


PRECISIONS: Registry[Precision] = Registry(
    "precision",
    {
        "float32": Precision("float32"),
        "tf32": Precision("float32", tf32=True),
        "bfloat16": Precision("bfloat16"),
        "float16": Precision("float16"),
    },
)


@dataclass(frozen=True)
class ComputeConfig:
    """How every draw of a run is computed: chosen once, written to the manifest, part of f's identity.

    `precision`: an entry of `PRECISIONS`. `compiled`: whether torch.compile made the code. `batch_size`: images in
    every forward pass.
    """

    precision: str
    compiled: bool
    batch_size: int


@dataclass(frozen=True)
class ComputeRequest:
    """What the user asks for. `precision`: an entry of `PRECISIONS`, or "auto". `compile`: on, off or auto.
    `batch_size`: None to have it chosen.
    """

    precision: str = "auto"
    compile: str = "auto"
    batch_size: int | None = None


@dataclass(frozen=True)
class ComputeChoice:
    """The configuration chosen. For notes and manifests: its draws per second here, the reason, and all configurations
    `tried`, each with its draws per second; `unsteady` is a warning if equal batches got different labels.
    `guessed_from` is the number of draws behind the speed where a brief benchmark ended before the choice was made.
    """

    compute: ComputeConfig
    draws_per_second: float
    why: str
    tried: list[dict[str, Any]]
    unsteady: str | None = None
    guessed_from: int | None = None


def native_precision(device: "torch.device") -> str:
    """The entry of `PRECISIONS` that "auto" selects on `device`: bfloat16 where the hardware multiplies it at full
    speed (NVIDIA since Ampere, processors with AVX-512 BF16 or AMX), float32 elsewhere.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older releases
        native = bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return "bfloat16" if native else "float32"


def check_precision(precision: str, device: "torch.device") -> Precision:
    """The entry of this name; raises RaysmoothError for an unknown name, and for TF32 on hardware without it."""
    entry = PRECISIONS[precision]
    if entry.tf32 and not (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)):
        raise RaysmoothError(
            f"precision tf32 needs an NVIDIA GPU, Ampere or newer, not '{device}': write --precision float32"
        )
    return entry


def settle_backend(compute: ComputeConfig, device: "torch.device") -> None:
    """Set torch's process-wide switches for `compute`; raises RaysmoothError as `check_precision` does.

    cuDNN may time its algorithms and pick the fastest, except in float32, which promises every bit: the pick may differ
    between two starts.
    """
    entry = check_precision(compute.precision, device)
    # float32 means float32: TF32, torch's default for convolutions, keeps 10 of 23 bits.
    torch.backends.cudnn.allow_tf32 = entry.tf32
    torch.set_float32_matmul_precision("high" if entry.tf32 else "highest")
    torch.backends.cudnn.benchmark = device.type == "cuda" and compute.precision != "float32"
