"""The replica: a Ray actor that holds base classifiers on one device and draws work units with them."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from actors.base_classifier import BaseClassifierSpec, DenoisedClassifier, load_base_classifier
from actors.draws import UnitCounts, WorkUnit, draw
from actors.noise import NoiseFamily
from actors.refusal import Refusal


@dataclass(frozen=True)
class Sampling:
    """How one run draws: which base classifier under which noise, from which seed, in which compute batch."""

    base: BaseClassifierSpec
    noise: NoiseFamily
    seed: int
    batch_size: int


@dataclass(frozen=True)
class ReplicaIdentity:
    """Where a replica runs. `device` and `torch` decide the last bits of logits, and `numpy` the noise on a CPU, so
    they belong to a run; `node` and `pid` are for whoever must find the process.
    """

    device: str
    torch: str
    numpy: str
    node: str
    pid: int

    @property
    def kind(self) -> tuple[str, str, str]:
        """What replicas of one run have in common."""
        return self.device, f"torch {self.torch}", f"numpy {self.numpy}"


class Replica:
    """One process beside one GPU (or on CPU cores). Weights are loaded here, from paths, on first use: nothing large
    travels through constructor arguments, which Ray would have to keep for a restart.
    """

    def __init__(self, samplings: list[Sampling], device: str, threads: int) -> None:
        # The thread count splits reductions, and so belongs to the run like the device.
        torch.set_num_threads(threads)
        # cuBLAS reads this when it starts; without it its results may differ from call to call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # float32 is what the manifest says: TF32, torch's default for convolutions, keeps 10 of its 23 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        self._samplings = samplings
        self._device = torch.device(device)
        self._models: dict[BaseClassifierSpec, DenoisedClassifier] = {}

    def identity(self) -> ReplicaIdentity:
        """What this replica is; raises Refusal where it was given a GPU that torch cannot use."""
        node = os.uname().nodename
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise Refusal(f"torch {torch.__version__} sees no GPU on {node}: write --gpus-per-replica 0")
        return ReplicaIdentity(device_kind(self._device), torch.__version__, np.__version__, node, os.getpid())

    def draw(self, unit: WorkUnit, *images: np.ndarray) -> UnitCounts:
        """Draw one unit; `images` in the order of its image ids. Raises Refusal if the weights here do not fit."""
        sampling = self._samplings[unit.run]
        return draw(
            unit,
            list(images),
            self._model(sampling.base),
            sampling.noise,
            seed=sampling.seed,
            batch_size=sampling.batch_size,
            device=self._device,
        )

    def _model(self, spec: BaseClassifierSpec) -> DenoisedClassifier:
        if spec not in self._models:
            self._models[spec] = load_base_classifier(spec, self._device).model
        return self._models[spec]


def device_kind(device: torch.device) -> str:
    """The kind of device, as far as results may depend on it: the GPU's name, or the processor's model and the vector
    instructions that torch uses of it.
    """
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"cpu {model} {torch.backends.cpu.get_cpu_capability()}"
