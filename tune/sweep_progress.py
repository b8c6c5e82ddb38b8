"""How far a sweep is: trials running, finished and failed, the best so far, and the time left."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.progress import TextColumn

from pipeline.progress import LOG_SECONDS, Display
from tune.sweep_settings import SweepSettings


class SweepProgress(Display):
    """A bar on a terminal, in a log a line when a trial ends or `LOG_SECONDS` are over."""

    def __init__(self, sweep: SweepSettings, show: bool) -> None:
        super().__init__(show, TextColumn("{task.fields[told]}"))
        self._metric = sweep.chosen_metric
        self._column = None if self._metric is None else self._metric.row.column[sweep.train]
        self._planned = sweep.planned
        self._bar = self._bars.add_task("sweep", total=float(self._planned), told="")
        self._running: dict[str, float] = {}
        self._finished: set[str] = set()
        self._failed: set[str] = set()
        self._best: tuple[float, Mapping[str, Any]] | None = None
        self._began = self._last_line = monotonic()
        self._before: float | None = None

    def known(self, trials: Mapping[str, tuple[str, float]]) -> None:
        """All trials there are by now: by id, their status in Ray Tune's words and the share that is done of each."""
        self._running = {name: share for name, (status, share) in trials.items() if status == "RUNNING"}
        finished = {name for name, (status, _) in trials.items() if status == "TERMINATED"}
        failed = {name for name, (status, _) in trials.items() if status == "ERROR"}
        ended = finished != self._finished or failed != self._failed
        self._finished, self._failed = finished, failed
        done = len(finished) + len(failed) + sum(self._running.values())
        if self._before is None:
            self._before = done
        self._bars.update(self._bar, completed=done, told=self._told())
        if self.shown and not self._live and (ended or monotonic() - self._last_line > LOG_SECONDS):
            self._last_line = monotonic()
            self.note(f"sweep: {self._told()}{self._left(done)}")

    def reported(self, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """A trial has been judged."""
        value = metrics.get(self._column) if self._column is not None else None
        if value is not None and (self._best is None or self._better(float(value))):
            self._best = float(value), config

    def _better(self, value: float) -> bool:
        assert self._metric is not None
        assert self._best is not None
        return self._metric.better(value, self._best[0])

    def _told(self) -> str:
        counts = f"{len(self._finished)} of {self._planned} trials finished, {len(self._running)} running"
        failed = f", {len(self._failed)} failed" if self._failed else ""
        if self._best is None:
            return counts + failed
        value, config = self._best
        return f"{counts}{failed}, best {self._metric} {value:.4g} ({in_words(config)})"

    def _left(self, done: float) -> str:
        assert self._before is not None
        if done <= self._before or done >= self._planned:
            return ""
        seconds = (monotonic() - self._began) * (self._planned - done) / (done - self._before)
        return f", {seconds:,.0f} s left"


def in_words(config: Mapping[str, Any]) -> str:
    """'learning_rate=0.001, optimizer=adam'."""
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in config.items()
    )


WATCHING: list[SweepProgress] = []
"""Those that `TrialWatch` tells."""


@contextmanager
def watched_by(progress: SweepProgress) -> Iterator[None]:
    """What `TrialWatch` sees goes to `progress`."""
    WATCHING.append(progress)
    try:
        yield
    finally:
        WATCHING.remove(progress)
