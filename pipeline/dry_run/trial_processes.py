"""A dry run's replicas without Ray: this process and others beside it, as many and with as many threads as a run would
have. Ray and its workers take longer to start than the networks to be tried.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from statistics import mean
from types import TracebackType
from typing import Any

import torch

from raysmooth.actors.compute.compute_config import ComputeChoice
from raysmooth.actors.replica.replica import Replica
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.dry_run.trial_process import TrialProcess, reason_of
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult


class TrialProcesses:
    """A `Trial` of this process, with `threads` threads, and `others`, which have been started. A context: leaving it
    gives this process its threads back.
    """

    def __init__(self, others: Sequence[TrialProcess], threads: int) -> None:
        self._others, self._threads = others, threads

    def __enter__(self) -> "TrialProcesses":
        self._threads_before = torch.get_num_threads()
        self._own = Replica("cpu", self._threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        torch.set_num_threads(self._threads_before)

    @property
    def identity(self) -> ReplicaIdentity:
        return self._own.identity()

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of this process. All are asked at the same time, as all compute at the same time in a run: a
        choice's speed is the mean of all.
        """
        answers = self.ask_all(question, *arguments)
        if isinstance(answers[0], ComputeChoice):
            return replace(answers[0], draws_per_second=mean(answer.draws_per_second for answer in answers))
        return answers[0]

    def ask_all(self, question: str, *arguments: Any) -> list[Any]:
        for other in self._others:
            other.ask(question, *arguments)
        own = self._answer(question, *arguments)
        return [own, *(other.answer() for other in self._others)]

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> None:
        self.ask_all("prepare", samplings, image_shapes)

    def wait_prepared(self, patience: float = 0.0) -> None:
        """They are prepared."""

    def draw(
        self, next_request: Callable[[], UnitRequest | None], wanted: Callable[[WorkUnit], bool]
    ) -> Iterator[UnitResult]:
        busy: dict[Any, tuple[TrialProcess, UnitRequest]] = {}
        while True:
            drawing = [process for process, _ in busy.values()]
            for free in (other for other in self._others if other not in drawing):
                if (request := next_request()) is not None:
                    free.ask("draw", *_call(request))
                    busy[free.pipe] = free, request
            own = next_request()
            if own is not None:
                yield _result(own, self._answer("draw", *_call(own)))
            elif not busy:
                return
            for pipe in wait(list(busy), timeout=0 if own is not None else None):
                process, request = busy.pop(pipe)
                yield _result(request, process.answer())

    def _answer(self, question: str, *arguments: Any) -> Any:
        try:
            return getattr(self._own, question)(*arguments)
        except (Exception, SystemExit) as error:
            raise RaysmoothError(reason_of(error)) from error


def _call(request: UnitRequest) -> tuple[Any, ...]:
    """The arguments of `Replica.draw` for one unit."""
    ids = request.unit.image_ids
    return [request.unit], [(request.unit.run, one) for one in ids], *(request.images[one] for one in ids)


def _result(request: UnitRequest, drawn: Any) -> UnitResult:
    return UnitResult(request, drawn.counts[0] if drawn.counts else None, drawn.failed)
