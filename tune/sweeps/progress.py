"""Progress of a sweep: trials running, finished and failed, the best value so far, and the time left."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from rich.progress import TextColumn

from raysmooth.pipeline.progress.progress_bars import LOG_SECONDS, Display
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.trials import STATUS

TrialStates = Mapping[str, tuple[str, float, Mapping[str, Any]]]
"""By trial id: Ray Tune's status, the fraction of epochs that is done, and the config."""


class SweepObserver(Protocol):
    """What `TrialWatch` informs about the trials of a sweep."""

    def trials_changed(self, trials: TrialStates) -> None:
        """Called with all trials so far, after each step of Ray Tune."""
        ...

    def trial_validated(self, trial_id: str, metrics: Mapping[str, Any]) -> None:
        """Called after each validation of a trial."""
        ...


OBSERVERS: list[SweepObserver] = []


@contextmanager
def observed_by(observer: SweepObserver) -> Iterator[None]:
    """`TrialWatch` informs `observer` inside this context."""
    OBSERVERS.append(observer)
    try:
        yield
    finally:
        OBSERVERS.remove(observer)


class SweepProgress(Display):
    """A bar on a terminal; in a log, a line every `LOG_SECONDS`; in both, a line for each trial that ends."""

    def __init__(self, sweep: SweepSettings, show: bool, label: str = "sweep") -> None:
        super().__init__(show, TextColumn("{task.fields[summary]}"))
        self._sweep, self._label = sweep, label
        self._metric, self._column = sweep.chosen_metric, sweep.metric_column
        self._planned = sweep.planned
        self._bar = self._bars.add_task(label, total=float(self._planned), summary="")
        self._running = 0
        self._ended: dict[str, str] = {}
        self._last: dict[str, tuple[float, int]] = {}
        self._best: float | None = None
        self._began = self._last_line = monotonic()
        self._done_before: float | None = None

    def trials_changed(self, trials: TrialStates) -> None:
        running = [done for status, done, _ in trials.values() if status == "RUNNING"]
        ended = {name: STATUS[status] for name, (status, _, _) in trials.items() if status in STATUS}
        before, self._ended, self._running = self._ended, ended, len(running)
        done = len(ended) + sum(running)
        if self._done_before is None:  # trials that ended before this command are no news
            before, self._done_before = ended, done
        for name in ended.keys() - before.keys():
            self.note(f"{self._label}: trial {name} {ended[name]}: {self._varied(trials[name][2])}{self._value(name)}")
        self._bars.update(self._bar, completed=done, summary=self._summary())
        if self.shown and not self._live and monotonic() - self._last_line > LOG_SECONDS:
            self._last_line = monotonic()
            self.note(f"{self._label}: {self._summary()}{self._time_left(done)}")

    def trial_validated(self, trial_id: str, metrics: Mapping[str, Any]) -> None:
        value = metrics.get(self._column) if self._column is not None else None
        if self._metric is None or value is None:
            return
        self._last[trial_id] = float(value), int(metrics["epoch"])
        if self._best is None or self._metric.better(float(value), self._best):
            self._best = float(value)

    def _varied(self, config: Mapping[str, Any]) -> str:
        """The settings in which this trial differs from others."""
        values = self._sweep.values(config)
        keys = [key for key in self._sweep.differing if key != "seed" or len(self._sweep.seeds) > 1]
        return ", ".join(f"{key}={_short(values.get(key))}" for key in keys)

    def _value(self, trial_id: str) -> str:
        if trial_id not in self._last:
            return ""
        value, epoch = self._last[trial_id]
        return f"; {self._metric} {value:.4g} after epoch {epoch}"

    def _summary(self) -> str:
        failed = sum(status == "failed" for status in self._ended.values())
        parts = [f"{len(self._ended) - failed}/{self._planned} trials finished", f"{self._running} running"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"best {self._best:.4g}"] if self._best is not None else []
        return ", ".join(parts)

    def _time_left(self, done: float) -> str:
        assert self._done_before is not None
        if done <= self._done_before or done >= self._planned:
            return ""
        seconds = (monotonic() - self._began) * (self._planned - done) / (done - self._done_before)
        return f", {seconds:,.0f} s left"


def _short(value: Any) -> str:
    """A number with few digits, a file without its folders."""
    return f"{value:.4g}" if isinstance(value, float) else Path(str(value)).name
