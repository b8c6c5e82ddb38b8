"""The denoiser of a replica that asks an API: float32, in batches of one size."""

import os
from typing import TYPE_CHECKING

import numpy as np

from raysmooth.actors.compute.compute_config import ComputeConfig, settle_backend
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateModule

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")

TOGETHER = 8
"""Images in every forward pass. Fixed, and filled up with blank ones, so that an image's last bits do not depend on how
many others there are."""


class Denoising:
    """A network on a device, in eval mode."""

    def __init__(self, network: "torch.nn.Module", device: "torch.device") -> None:
        self._network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self._device = device

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """`noisy` (B, C, H, W), float32, pixel units, denoised; never clipped."""
        settle_backend(ComputeConfig("float32", compiled=False, batch_size=TOGETHER), self._device)
        batch = torch.zeros(TOGETHER, *noisy.shape[1:], device=self._device)
        batch = batch.contiguous(memory_format=torch.channels_last)
        denoised = np.empty_like(noisy)
        with torch.inference_mode():
            for start in range(0, len(noisy), TOGETHER):
                part = noisy[start : start + TOGETHER]
                batch[: len(part)] = torch.from_numpy(part)
                batch[len(part) :] = 0
                denoised[start : start + len(part)] = self._network(batch)[: len(part)].float().cpu().numpy()
        return denoised


def load_denoising(spec: QuerySpec, device: str) -> Denoising | None:
    """The denoiser of `spec`, None where it has none. Raises RaysmoothError for weights that are missing, do not fit or
    are not those that the run began with, and for a GPU that torch does not see.
    """
    if spec.denoiser == NO_DENOISER:
        return None
    from raysmooth.actors.models.network_reading import load_denoiser  # with torch

    if device == "cuda":
        if not torch.cuda.is_available():
            raise RaysmoothError(f"torch sees no GPU on {os.uname().nodename}: write --gpus-per-replica 0")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    denoiser = load_denoiser(spec.denoiser, spec.denoiser_weights, spec.import_path)
    if spec.denoiser_fingerprint not in (None, denoiser.fingerprint):
        raise RaysmoothError(
            f"the denoiser's weights on {os.uname().nodename} are not those that this run began with "
            f"({spec.denoiser_weights}): give every machine the same file"
        )
    return Denoising(denoiser.network, torch.device(device))
