"""The replica: a Ray actor that holds base classifiers on one device and computes work units with them."""

import os
import platform
from pathlib import Path

import numpy as np
import torch

from raysmooth.actors.compute.host_memory import keep_memory
from raysmooth.actors.compute.own_process import compute_deterministically
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.unit_drawer import UnitDrawer
from raysmooth.common.errors import RaysmoothError


class Replica(UnitDrawer):
    """One process with one GPU or some CPU cores. It loads weights itself, from paths: constructor arguments must be
    small, as Ray keeps them for restarts.
    """

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(torch.device(device))
        # The number of threads decides how reductions are split: like the device, it is part of the run's identity.
        torch.set_num_threads(threads)
        if self._device.type == "cuda":  # on a CPU torch is deterministic, and asking for it takes a second
            compute_deterministically()
        else:
            keep_memory()

    def identity(self) -> ReplicaIdentity:
        """Device and library versions of this replica; raises RaysmoothError if torch cannot use the GPU."""
        node = os.uname().nodename
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise RaysmoothError(f"torch {torch.__version__} sees no GPU on {node}: write --gpus-per-replica 0")
        return identity_on(self._device)


def identity_on(device: torch.device) -> ReplicaIdentity:
    """The identity of a replica in this process, on `device`."""
    return ReplicaIdentity(device_kind(device), torch.__version__, np.__version__, os.uname().nodename, os.getpid())


def device_kind(device: torch.device) -> str:
    """The kind of device, as far as results may depend on it: the GPU's name, or the processor's model and the vector
    instructions that torch uses.
    """
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"cpu {model} {torch.backends.cpu.get_cpu_capability()}"
