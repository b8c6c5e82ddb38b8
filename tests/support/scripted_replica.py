"""A replica without networks: the pixels of an image decide what happens to a unit that needs it."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeRequest
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Drawn, UnitCounts, WorkUnit

RAISES, KILLS, STUCK = -1.0, -2.0, 7.0
"""First pixels of images whose units fail; the first pixel of any other image is its label."""


class ScriptedReplica:
    """`micro_batch` of its answers is how many units the call had."""

    def __init__(self, device: str, threads: int) -> None:
        pass

    def identity(self) -> ReplicaIdentity:
        return ReplicaIdentity("scripted", "0", "0", "here", os.getpid())

    def choose(
        self,
        base: BaseClassifierSpec,
        image_shape: tuple[int, ...],
        request: ComputeRequest,
        draws: int,
        brief: bool = False,
    ) -> ComputeChoice:
        raise NotImplementedError("tests of the pool set how to compute")

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> float:
        return 0.0

    def measure(self, run: int, image_shape: tuple[int, ...], seconds: float) -> float:
        return 1000.0

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        by_key = dict(zip(keys, images, strict=True))
        drawn: list[UnitCounts] = []
        for unit in units:
            pixels = [float(by_key[unit.run, block.image_id].flat[0]) for block in unit.blocks]
            if KILLS in pixels:
                os.kill(os.getpid(), signal.SIGKILL)
            if RAISES in pixels:
                return Drawn(drawn, "ValueError: scripted")
            counts = np.zeros((len(unit.blocks), 10), np.int64)
            for place, (block, pixel) in enumerate(zip(unit.blocks, pixels, strict=True)):
                counts[place, int(pixel)] = block.draws
            drawn.append(UnitCounts(counts, np.zeros(len(unit.blocks), np.int64), 0.001, len(units)))
        return Drawn(drawn)


class LateReplica(ScriptedReplica):
    """The first of two is ready at once, the second when that one is drawing; the first's first unit lasts until the
    second draws too, or a minute. They meet in the folder that their classifier names. `micro_batch` of an answer is
    the process id.
    """

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> float:
        self._folder = Path(samplings[0].base.classifier)
        try:
            (self._folder / "first").mkdir()
            self._mine, self._other = self._folder / "first draws", self._folder / "second draws"
        except FileExistsError:
            self._mine, self._other = self._folder / "second draws", self._folder / "first draws"
            self._wait_for_other()
        return 0.0

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        if not self._mine.exists():
            self._mine.touch()
            self._wait_for_other()
        return Drawn([replace(drawn, micro_batch=os.getpid()) for drawn in super().draw(units, keys, *images).counts])

    def _wait_for_other(self) -> None:
        until = time.monotonic() + 60
        while not self._other.exists() and time.monotonic() < until:
            time.sleep(0.01)


class StuckReplica(ScriptedReplica):
    """The first process that draws an image of STUCK never answers. `micro_batch` of an answer is the process id."""

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> float:
        self._folder = Path(samplings[0].base.classifier)
        return 0.0

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        if any(float(image.flat[0]) == STUCK for image in images):
            try:
                (self._folder / "stuck").mkdir()
                time.sleep(3600)
            except FileExistsError:
                pass
        return Drawn([replace(drawn, micro_batch=os.getpid()) for drawn in super().draw(units, keys, *images).counts])


class SlowReplica(ScriptedReplica):
    """Takes a tenth of a second for a unit, and reports that."""

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        time.sleep(0.1 * len(units))
        return Drawn([replace(drawn, seconds=0.1) for drawn in super().draw(units, keys, *images).counts])


class SleepingReplica(ScriptedReplica):
    """Never answers; knows no device but the CPU."""

    def __init__(self, device: str, threads: int) -> None:
        if device != "cpu":
            raise ValueError(f"no device {device}")

    def draw(self, units: Sequence[WorkUnit], keys: Sequence[tuple[int, int]], *images: np.ndarray) -> Drawn:
        time.sleep(3600)
        return Drawn([])
