"""How far a sweep is: trials running, finished and failed, the best so far, and the time left."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from rich.progress import TextColumn

from raysmooth.pipeline.runs.progress_bars import LOG_SECONDS, Display
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.trials import STATUS


class SweepProgress(Display):
    """A bar on a terminal, in a log a line every `LOG_SECONDS`; in both a line for each trial that ends."""

    def __init__(self, sweep: SweepSettings, show: bool, label: str = "sweep") -> None:
        super().__init__(show, TextColumn("{task.fields[told]}"))
        self._sweep, self._label = sweep, label
        self._metric = sweep.chosen_metric
        self._column = None if self._metric is None else self._metric.row.column[sweep.train]
        self._planned = sweep.planned
        self._bar = self._bars.add_task(label, total=float(self._planned), told="")
        self._running = 0
        self._ended: dict[str, str] = {}
        self._last: dict[str, tuple[float, int]] = {}
        self._best: float | None = None
        self._began = self._last_line = monotonic()
        self._before: float | None = None

    def known(self, trials: Mapping[str, tuple[str, float, Mapping[str, Any]]]) -> None:
        """All trials there are by now: by id, their status in Ray Tune's words, the share that is done, and what
        was drawn for it.
        """
        running = [share for status, share, _ in trials.values() if status == "RUNNING"]
        ended = {name: STATUS[status] for name, (status, _, _) in trials.items() if status in STATUS}
        before, self._ended, self._running = self._ended, ended, len(running)
        done = len(ended) + sum(running)
        if self._before is None:  # those that ended before this command are nobody's news
            before, self._before = ended, done
        for name in ended.keys() - before.keys():
            self.note(
                f"{self._label}: trial {name} {ended[name]}: {self._words(trials[name][2])}{self._measured(name)}"
            )
        self._bars.update(self._bar, completed=done, told=self._told())
        if self.shown and not self._live and monotonic() - self._last_line > LOG_SECONDS:
            self._last_line = monotonic()
            self.note(f"{self._label}: {self._told()}{self._left(done)}")

    def reported(self, trial_id: str, metrics: Mapping[str, Any]) -> None:
        """A trial has been judged."""
        value = metrics.get(self._column) if self._column is not None else None
        if self._metric is None or value is None:
            return
        self._last[trial_id] = float(value), int(metrics["epoch"])
        if self._best is None or self._metric.better(float(value), self._best):
            self._best = float(value)

    def _words(self, drawn: Mapping[str, Any]) -> str:
        values = self._sweep.values(drawn)
        told = [key for key in self._sweep.differing if key != "seed" or len(self._sweep.seeds) > 1]
        return ", ".join(f"{key}={_short(values.get(key))}" for key in told)

    def _measured(self, trial_id: str) -> str:
        if trial_id not in self._last:
            return ""
        value, epoch = self._last[trial_id]
        return f"; {self._metric} {value:.4g} after epoch {epoch}"

    def _told(self) -> str:
        failed = sum(how == "failed" for how in self._ended.values())
        parts = [f"{len(self._ended) - failed}/{self._planned} trials finished", f"{self._running} running"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"best {self._best:.4g}"] if self._best is not None else []
        return ", ".join(parts)

    def _left(self, done: float) -> str:
        assert self._before is not None
        if done <= self._before or done >= self._planned:
            return ""
        seconds = (monotonic() - self._began) * (self._planned - done) / (done - self._before)
        return f", {seconds:,.0f} s left"


def _short(value: Any) -> str:
    """A number with few digits, a file without its folders."""
    return f"{value:.4g}" if isinstance(value, float) else Path(str(value)).name


class Watcher(Protocol):
    """Somebody who is told of a sweep's trials, as `SweepProgress` is."""

    def known(self, trials: Mapping[str, tuple[str, float, Mapping[str, Any]]]) -> None: ...

    def reported(self, trial_id: str, metrics: Mapping[str, Any]) -> None: ...


WATCHING: list[Watcher] = []
"""Those that `TrialWatch` tells."""


@contextmanager
def watched_by(progress: Watcher) -> Iterator[None]:
    """What `TrialWatch` sees goes to `progress`."""
    WATCHING.append(progress)
    try:
        yield
    finally:
        WATCHING.remove(progress)
