"""Runs cases in processes of their own, so that one that hangs or crashes is noticed, and costs only itself."""

import faulthandler
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from fuzz.attempt import PLAYED, attempt, build
from fuzz.case import Attempt, Kind, Outcome

HANG_SECONDS = 5.0
"""Processor time of a case that hangs."""

STUCK_SECONDS = 8.0
"""Time by the clock for which a case that hangs only waits; it does not count while it could run, on a busy machine."""

PATIENCE_SECONDS = 120.0
"""Time by the clock of any case."""

MEMORY = 6 * 2**30
"""Bytes that a case may need beside what is there."""

_FORK = multiprocessing.get_context("fork")  # all that a case imports is there already


@dataclass
class _Worker:
    """One process, the pipe to it, and the case that it runs: kind and number, when it began, its processor time then
    and at the last look, and since when it has only waited.
    """

    process: Any
    pipe: Connection
    trace: Path
    case: tuple[str, int] | None = None
    began: float = 0.0
    used: float = 0.0
    last: float = 0.0
    asleep: float | None = None


@dataclass
class Suite:
    """Runs cases of `kinds`, in `work`; `seed` and a case's number decide what it is."""

    kinds: Mapping[str, Kind]
    seed: int
    work: Path
    workers: list[_Worker] = field(default_factory=list)

    def prepare(self) -> None:
        """The valid inputs of all kinds, built in another process: what it loads must not be copied to all others."""
        builder = _FORK.Process(target=_build_all, args=(self.kinds, self.work))
        builder.start()
        builder.join()
        if builder.exitcode != 0:
            raise RuntimeError("the valid inputs could not be built")

    def run(self, cases: Iterator[tuple[str, int]], processes: int) -> Iterator[Attempt]:
        """The attempts at `cases`, in the order in which they end."""
        self.workers = [self._started(number) for number in range(processes)]
        idle = False
        try:
            while not idle or any(worker.case is not None for worker in self.workers):
                for place, worker in enumerate(self.workers):
                    if worker.case is None and not idle:
                        if (case := next(cases, None)) is None:
                            idle = True
                        else:
                            self._send(worker, case)
                    elif worker.case is not None and (problem := _problem(worker)) is not None:
                        yield self._ended(place, *problem)
                for pipe in wait([worker.pipe for worker in self.workers if worker.case is not None], 0.2):
                    place = next(i for i, worker in enumerate(self.workers) if worker.pipe is pipe)
                    try:
                        found = self.workers[place].pipe.recv()
                    except (EOFError, OSError):
                        yield self._ended(place, Outcome.CRASH, "the process ended")
                    else:
                        self.workers[place].case = None
                        yield found
        finally:
            for worker in self.workers:
                worker.process.kill()
                worker.process.join()

    def _started(self, number: int) -> _Worker:
        ours, theirs = _FORK.Pipe()
        trace = self.work / f"trace-{number}"
        trace.touch()
        process = _FORK.Process(target=_serve, args=(self.kinds, self.seed, self.work, number, theirs, trace))
        process.start()
        theirs.close()
        return _Worker(process, ours, trace)

    @staticmethod
    def _send(worker: _Worker, case: tuple[str, int]) -> None:
        worker.case, worker.began = case, time.monotonic()
        worker.used, worker.asleep = _processor_time(worker), None
        worker.pipe.send(case)

    def _ended(self, place: int, outcome: Outcome, detail: str) -> Attempt:
        """The attempt of a worker that is no more, or has to go; another one takes its place."""
        worker = self.workers[place]
        assert worker.case is not None
        if outcome is Outcome.HANG and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGUSR1)  # it writes where it is
            until = time.monotonic() + 5
            while not worker.trace.stat().st_size and time.monotonic() < until:
                time.sleep(0.05)
        worker.process.kill()
        worker.process.join()
        code = f" (exit {worker.process.exitcode})" if outcome is Outcome.CRASH else ""
        trace = worker.trace.read_text(errors="replace")
        trace = trace if len(trace) < 6000 else f"{trace[:3000]}\n...\n{trace[-3000:]}"
        folder = self.work / f"worker-{place}" / "case"
        kept = Path(tempfile.mkdtemp(dir=self.work, prefix="ended-")) / "case"
        if folder.exists():
            folder.rename(kept)
        kind, number = worker.case
        altered, _, request = (folder.parent / PLAYED).read_text().partition("\n")
        self.workers[place] = self._started(place)
        seconds = time.monotonic() - worker.began
        return Attempt(kind, number, altered, request, outcome, f"{detail}{code}\n{trace}", seconds, kept)


def _problem(worker: _Worker) -> tuple[Outcome, str] | None:
    if not worker.process.is_alive():
        return (Outcome.CRASH, "the process died") if not worker.pipe.poll() else None
    now, used = time.monotonic(), _processor_time(worker)
    waits = used == worker.last and psutil.Process(worker.process.pid).status() == psutil.STATUS_SLEEPING
    worker.last, worker.asleep = used, (worker.asleep or now) if waits else None
    if worker.pipe.poll():
        return None
    if used - worker.used > HANG_SECONDS:
        return Outcome.HANG, f"{used - worker.used:.1f} s of processor time"
    if worker.asleep is not None and now - worker.asleep > STUCK_SECONDS:
        return Outcome.HANG, f"{now - worker.asleep:.0f} s of waiting"
    return (Outcome.HANG, "no end") if now - worker.began > PATIENCE_SECONDS else None


def _processor_time(worker: _Worker) -> float:
    try:
        times = psutil.Process(worker.process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _build_all(kinds: Mapping[str, Kind], work: Path) -> None:
    for name, kind in kinds.items():
        build(kind, work / "inputs" / name)


def _serve(kinds: Mapping[str, Kind], seed: int, work: Path, number: int, pipe: Connection, trace: Path) -> None:
    """Answers each (kind, number) with its attempt, until it is killed."""
    with trace.open("w") as file:
        faulthandler.enable(file)
        faulthandler.register(signal.SIGUSR1, file, all_threads=False)
        os.dup2(file.fileno(), 2)  # C libraries write there, and an error of this suite
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        own = work / f"worker-{number}"
        own.mkdir(exist_ok=True)
        while True:
            kind, case = pipe.recv()
            file.seek(0)
            file.truncate()
            try:
                pipe.send(attempt(kind, kinds[kind], case, seed, work / "inputs" / kind, own))
            except Exception:
                pipe.send(Attempt(kind, case, "not made, or not judged", "", Outcome.UNMADE, traceback.format_exc()))
