"""How every draw of a run is computed: precision, compilation, batch. It is part of what a certificate is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry


@dataclass(frozen=True)
class Precision:
    """`dtype` is what networks compute in; `tf32` allows NVIDIA's tensor cores to multiply float32 with 10 of the 23
    bits of its fraction.
    """

    dtype: torch.dtype
    tf32: bool = False


PRECISIONS: Registry[Precision] = Registry(
    "precision",
    {
        "float32": Precision(torch.float32),
        "tf32": Precision(torch.float32, tf32=True),
        "bfloat16": Precision(torch.bfloat16),
        "float16": Precision(torch.float16),
    },
)


@dataclass(frozen=True)
class ComputeConfig:
    """How every draw of a run is computed: decided once, in the manifest, part of f's identity.

    `precision` is a row of `PRECISIONS`; `compiled` says whether torch.compile made the code; `batch_size` is the
    number of rows of every forward pass.
    """

    precision: str
    compiled: bool
    batch_size: int


def native_precision(device: torch.device) -> str:
    """The row of `PRECISIONS` that "auto" means on `device`: bfloat16 where it is multiplied at full speed (NVIDIA
    from Ampere on, processors with AVX-512 BF16 or AMX), float32 elsewhere.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases have none
        native = bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return "bfloat16" if native else "float32"


def check_precision(precision: str, device: torch.device) -> Precision:
    """The row; raises RaysmoothError for an unknown name, and for TF32 where there are no tensor cores for it."""
    row = PRECISIONS[precision]
    if row.tf32 and not (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)):
        raise RaysmoothError(
            f"precision tf32 needs an NVIDIA GPU from Ampere on, not '{device}': write --precision float32"
        )
    return row


def settle_backend(path: ComputeConfig, device: torch.device) -> None:
    """Set torch's process-wide switches as `path` needs them; raises RaysmoothError as `check_precision` does.

    cuDNN measures which algorithm is fastest only where float32 is not asked for to the last bit: what it finds may
    differ from one start to the next.
    """
    row = check_precision(path.precision, device)
    # float32 means float32: TF32, torch's default for convolutions, keeps 10 of its 23 bits.
    torch.backends.cudnn.allow_tf32 = row.tf32
    torch.set_float32_matmul_precision("high" if row.tf32 else "highest")
    torch.backends.cudnn.benchmark = device.type == "cuda" and path.precision != "float32"
