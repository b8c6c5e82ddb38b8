"""What the pool needs of its actor class."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeRequest
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.unit_drawer import ImageKey
from raysmooth.actors.replica.work_unit import Drawn, WorkUnit


class DrawsUnits(Protocol):
    """An actor class that draws work units. `Replica` is the real one, and its docstrings hold for all of them; tests
    and benchmarks have others that compute nothing.
    """

    def __init__(self, device: str, threads: int) -> None: ...

    def identity(self) -> ReplicaIdentity: ...

    def choose(
        self,
        base: BaseClassifierSpec,
        image_shape: tuple[int, ...],
        request: ComputeRequest,
        draws: int,
        brief: bool = False,
    ) -> ComputeChoice: ...

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> float: ...

    def measure(self, run: int, image_shape: tuple[int, ...], seconds: float) -> float: ...

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[ImageKey], *images: np.ndarray) -> Drawn: ...
