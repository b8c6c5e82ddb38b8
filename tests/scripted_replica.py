"""A replica without networks: the pixels of an image say what becomes of a unit that needs it."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from actors.replica import Sampling
from actors.replica_identity import ReplicaIdentity
from actors.work_unit import Drawn, UnitCounts, WorkUnit

RAISES, KILLS = -1.0, -2.0
"""First pixels of images whose units fail; other images are labelled by theirs."""


class ScriptedReplica:
    """`micro_batch` of its answers is how many units the call had."""

    def __init__(self, device: str, threads: int) -> None:
        pass

    def identity(self) -> ReplicaIdentity:
        return ReplicaIdentity("scripted", "0", "0", "here", os.getpid())

    def prepare(self, samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]]) -> float:
        return 0.0

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        by_key = dict(zip(keys, images, strict=True))
        drawn: list[UnitCounts] = []
        for unit in units:
            pixels = [float(by_key[unit.run, cell.image_id].flat[0]) for cell in unit.cells]
            if KILLS in pixels:
                os.kill(os.getpid(), signal.SIGKILL)
            if RAISES in pixels:
                return Drawn(drawn, "ValueError: scripted")
            counts = np.zeros((len(unit.cells), 10), np.int64)
            for place, (cell, pixel) in enumerate(zip(unit.cells, pixels, strict=True)):
                counts[place, int(pixel)] = cell.draws
            drawn.append(UnitCounts(counts, np.zeros(len(unit.cells), np.int64), 0.001, len(units)))
        return Drawn(drawn)


class LateReplica(ScriptedReplica):
    """Ready at once, or a second after another that found the folder empty which its classifier names; each unit takes
    longer than that. `micro_batch` of its answers is its process.
    """

    def prepare(self, samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]]) -> float:
        try:
            os.mkdir(os.path.join(samplings[0].base.classifier, "first"))
        except FileExistsError:
            time.sleep(1.0)
        return 0.0

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        time.sleep(1.5 * len(units))
        return Drawn([replace(drawn, micro_batch=os.getpid()) for drawn in super().draw(units, keys, *images).counts])
