"""Progress for people: bars on a terminal and in a notebook, an occasional line in a log."""

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from raysmooth.common.spelling import as_called
from raysmooth.common.streams import unfailing
from raysmooth.pipeline.progress.notebook_bars import NOTEBOOK_WIDTH, NotebookBars, in_notebook

LOG_SECONDS = 10.0
"""Seconds between two lines of a log."""

_WINDOW = 20.0
"""Seconds over which the pace is measured."""

_KEPT = 200
"""Points of a run's past that are kept for the time left."""


_WIDE = 100
"""Columns of a terminal with room for two rates."""

_NAME_SHARE, _SHORT_NAME = 3, 24
"""A name takes at most one of this many parts of the terminal, unless it is as short as that."""


class _Name(ProgressColumn):
    """What the bar is of, on one line; a long name loses its beginning, as runs differ by their ends."""

    def __init__(self, width: Callable[[], int]) -> None:
        super().__init__(Column(no_wrap=True))
        self._width = width

    def render(self, task: Task) -> Text:
        most = max(_SHORT_NAME, self._width() // _NAME_SHARE)
        name = task.description
        return Text(name if len(name) <= most else f"…{name[1 - most :]}")


class _Rates(ProgressColumn):
    """images/s and draws/s; in a narrow terminal draws/s alone, so that a bar is one line."""

    def __init__(self, width: Callable[[], int]) -> None:
        super().__init__(Column(no_wrap=True))
        self._width = width

    def render(self, task: Task) -> Text:
        pace: _Pace = task.fields["pace"]
        if not pace.known:
            return Text("starting" if not task.finished else "")
        images = f"{pace.images:,.1f} images/s " if self._width() >= _WIDE else ""
        return Text(f"{images}{pace.draws:,.0f} draws/s", style="cyan")


class _TimeLeft(TimeRemainingColumn):
    """Time left at the current pace; at first, as estimated. For bars without a pace, as rich computes it."""

    def render(self, task: Task) -> Text:
        pace: _Pace | None = task.fields.get("pace")
        if pace is None or pace.seconds_left is None or task.finished:
            return super().render(task)
        minutes, seconds = divmod(int(pace.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
        return Text(f"{'' if pace.known else '~'}{clock}", style="progress.remaining")


@dataclass
class _Pace:
    """The speed of a run over the last `_WINDOW` seconds. rich measures only one quantity, and starts over when the
    total changes, as it often does where images stop early.

    The time left is judged by the speed over the last half of the run, `_WINDOW` at least: replicas that die, and start
    for half a minute, will do so again, but the run is not as slow as they make it now.
    """

    seconds_left: float | None
    draws: float = 0.0
    images: float = 0.0
    known: bool = False
    _seen: deque[tuple[float, float, int]] = field(default_factory=deque)
    _began: float | None = None
    _past: deque[tuple[float, float]] = field(default_factory=deque)

    def update(self, images: int, draws: float, expected: float) -> None:
        """The totals of `images` and `draws` so far, and the `expected` total of draws."""
        now = monotonic()
        self._seen.append((now, draws, images))
        self._remember(now, draws)
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        began, drawn, finished = self._seen[0]
        if now - began > 0.5 and draws > drawn:
            self.known = True
            self.draws, self.images = (draws - drawn) / (now - began), (images - finished) / (now - began)
            self.seconds_left = (expected - draws) / self._long_run(now, draws)

    def _long_run(self, now: float, draws: float) -> float:
        """Draws per second over the last half of the run."""
        began, drawn = self._past[0]
        return (draws - drawn) / (now - began)

    def _remember(self, now: float, draws: float) -> None:
        self._began = now if self._began is None else self._began
        horizon = max(_WINDOW, (now - self._began) / 2)
        if not self._past or now - self._past[-1][0] >= horizon / _KEPT:
            self._past.append((now, draws))
        while len(self._past) > 1 and now - self._past[1][0] >= horizon:
            self._past.popleft()


class Display:
    """A context with bars on a terminal's standard error or in a notebook, or lines in a log; silent with `show=False`.

    `columns` are columns of rich's progress display, between the bar, which fills the width, and the time left.
    """

    def __init__(self, show: bool, *columns: ProgressColumn) -> None:
        self._console = Console(stderr=True, file=unfailing(sys.stderr), highlight=False)
        self.shown = show
        self._notebook: NotebookBars | None = None
        all_columns = [
            _Name(self.width),
            BarColumn(bar_width=None),
            *columns,
            _TimeLeft(compact=True, elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        ]
        options: dict[str, Any] = {"speed_estimate_period": 20, "expand": True}
        if show and in_notebook():
            self._live = True
            self._bars: Bars = (notebook := NotebookBars(*all_columns, **options))
            self._notebook = notebook
        else:
            self._live = show and self._console.is_terminal
            self._bars = Bars(*all_columns, console=self._console, disable=not self._live, **options)

    def width(self) -> int:
        """Columns for a line."""
        return NOTEBOOK_WIDTH if self._notebook is not None else self._console.width

    def note(self, text: str) -> None:
        """Print a line for the user, above the bars. In a call of the Python API it names keywords, not flags."""
        text = as_called(text)
        if self._notebook is not None:
            self._notebook.note(text)
        elif self.shown:
            self._console.print(text, soft_wrap=True, markup=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class Progress(Display):
    """One bar for each run."""

    def __init__(self, show: bool = True) -> None:
        images = TextColumn("{task.fields[images]:,}/{task.fields[of]:,} images")
        super().__init__(show, images, _Rates(self.width))
        self._last_line = monotonic()

    def add(self, label: str, images: int, images_done: int, draws: float, draws_per_second: float | None) -> TaskID:
        """A bar for a run of `images`, of which `images_done` are finished already, with the expected number of `draws`
        left and the expected speed, if known.
        """
        pace = _Pace(draws / draws_per_second if draws_per_second else None)
        return self._bars.add_task(label, total=1.0, images=images_done, of=images, pace=pace, start=False)

    def advance(self, bar: TaskID, images: int, draws: float, expected: float) -> None:
        """`images` more are finished; `draws` is the total of this session so far, of the `expected` total."""
        task = self._bars.tasks[bar]
        if not task.started:
            self._bars.start_task(bar)
            self._last_line = monotonic()
        finished = task.fields["images"] + images
        task.fields["pace"].update(finished, draws, expected)
        done = 1.0 if finished == task.fields["of"] else min(draws / expected, 0.999) if expected else 0.0
        self._bars.update(bar, completed=done, images=finished)
        if self.shown and not self._live and (monotonic() - self._last_line > LOG_SECONDS or task.finished):
            self._last_line = monotonic()
            self.note(self._line(task))

    @staticmethod
    def _line(task: Task) -> str:
        pace: _Pace = task.fields["pace"]
        images = f"{task.fields['images']:,} of {task.fields['of']:,} images"
        rate = f"{pace.images:,.1f} images/s, {pace.draws:,.0f} draws/s" if pace.known else ""
        left = f"{pace.seconds_left:,.0f} s left" if pace.seconds_left is not None and not task.finished else ""
        return ", ".join(part for part in (f"{task.description}: {images}", rate, left) if part)
