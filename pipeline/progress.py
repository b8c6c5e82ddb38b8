"""Progress a person can read: bars on a terminal, a line now and then in a log."""

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

LOG_SECONDS = 10.0
"""How often a log gets a line."""


class _Rates(ProgressColumn):
    """images/s and draws/s; bars advance in draws, images follow in proportion."""

    def render(self, task: Task) -> Text:
        draws = task.finished_speed or task.speed
        if not draws:
            return Text("starting" if not task.finished else "")
        return Text(f"{draws * _images_per_draw(task):,.1f} images/s {draws:,.0f} draws/s", style="cyan")


class _TimeLeft(TimeRemainingColumn):
    """Time left; at the beginning, as it was estimated."""

    def render(self, task: Task) -> Text:
        expected = task.fields.get("seconds")
        if expected is None or task.speed or task.finished:
            return super().render(task)
        minutes, seconds = divmod(int(expected), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"~{hours}:{minutes:02}:{seconds:02}" if hours else f"~{minutes:02}:{seconds:02}", style="cyan")


class Display:
    """Bars on a terminal's standard error, lines in a log; `show=False` (a notebook, a test) is silent. A context.

    `columns` of rich's progress display; a bar fills the width, time left comes last.
    """

    def __init__(self, show: bool, *columns: ProgressColumn) -> None:
        self._console = Console(stderr=True, highlight=False)
        self.shown = show
        self._live = show and self._console.is_terminal
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            *columns,
            _TimeLeft(compact=True, elapsed_when_finished=True),
            console=self._console,
            disable=not self._live,
            speed_estimate_period=20,
            expand=True,
        )

    def note(self, text: str) -> None:
        """Something a person watching should know, above the bars."""
        if self.shown:
            self._console.print(text, soft_wrap=True, markup=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class Progress(Display):
    """One bar a run."""

    def __init__(self, show: bool = True) -> None:
        images = TextColumn("{task.fields[images]:,}/{task.fields[of]:,} images")
        super().__init__(show, images, _Rates())
        self._last_line = monotonic()

    def add(self, label: str, images: int, images_done: int, draws: float, draws_per_second: float | None) -> TaskID:
        """A bar for a run of `images`, of which `images_done` were done before; `draws` are expected to be left, and
        `draws_per_second` to be made, if anything is known of that.
        """
        seconds = draws / draws_per_second if draws_per_second else None
        left = images - images_done
        return self._bars.add_task(
            label, total=draws, images=images_done, of=images, left=left, seconds=seconds, start=False
        )

    def advance(self, bar: TaskID, images: int, draws: int, of: float) -> None:
        """`images` more are finished; `draws` are made `of` those that are expected by now."""
        task = self._bars.tasks[bar]
        if not task.started:
            self._bars.start_task(bar)
            self._last_line = monotonic()
        self._bars.update(bar, completed=draws, total=max(of, draws), images=task.fields["images"] + images)
        if self.shown and not self._live and (monotonic() - self._last_line > LOG_SECONDS or task.finished):
            self._last_line = monotonic()
            self.note(self._line(task))

    @staticmethod
    def _line(task: Task) -> str:
        speed = task.finished_speed or task.speed or 0.0
        left = f"{task.time_remaining:,.0f} s left" if task.time_remaining is not None else ""
        images = f"{task.fields['images']:,} of {task.fields['of']:,} images"
        rate = f"{speed * _images_per_draw(task):,.1f} images/s, {speed:,.0f} draws/s"
        return ", ".join(part for part in (f"{task.description}: {images}", rate, left) if part)


def _images_per_draw(task: Task) -> float:
    return task.fields["left"] / task.total if task.total else 0.0
