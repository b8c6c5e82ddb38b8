"""Replicas that sleep instead of computing. Nothing large is imported here: 64 processes import it."""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.work_unit import Drawn, UnitCounts, WorkUnit


class StubReplica:
    """Answers as a Replica does, after `seconds_per_unit` for each unit. It does not import torch, so 64 of its
    processes fit into the memory of a laptop.
    """

    seconds_per_unit = 0.1

    def __init__(self, device: str, threads: int) -> None:
        pass

    def identity(self) -> ReplicaIdentity:
        return ReplicaIdentity("stub", "-", "-", os.uname().nodename, os.getpid())

    def choose(self, base: Any, image_shape: tuple[int, ...], request: Any, draws: int, brief: bool = False) -> Any:
        raise NotImplementedError("the benchmark sets how to compute")

    def prepare(self, samplings: Sequence[Any], image_shapes: Sequence[tuple[int, ...]]) -> float:
        return 0.0

    def measure(self, run: int, image_shape: tuple[int, ...], seconds: float) -> float:
        return 1000 / self.seconds_per_unit

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        wake = time.perf_counter() + self.seconds_per_unit * len(units)
        answers = []
        for unit in units:
            counts = np.zeros((len(unit.blocks), 10), np.int64)
            counts[:, 3] = [block.draws for block in unit.blocks]
            answers.append(UnitCounts(counts, np.zeros(len(unit.blocks), np.int64), self.seconds_per_unit, 1000))
        time.sleep(max(0.0, wake - time.perf_counter()))
        return Drawn(answers)


class FastStubReplica(StubReplica):
    seconds_per_unit = 0.02
