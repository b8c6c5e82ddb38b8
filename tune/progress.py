"""How far a training is: a bar on a terminal, some ten lines in a log."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

LOG_LINES = 10
"""How many lines a training leaves where there is no terminal."""


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} images/s" if speed else "", style="cyan")


class EpochProgress:
    """The bar of one training; a context. `show=False` (a notebook, a test) is silent."""

    def __init__(self, label: str, epochs: int, images_per_epoch: int, show: bool = True) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._show = show
        self._label = label
        self._epochs = epochs
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            TextColumn("loss {task.fields[loss]:.4f}"),
            _ImagesPerSecond(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
            disable=not (show and self._console.is_terminal),
            speed_estimate_period=20,
            expand=True,
        )
        self._bar = self._bars.add_task(
            label, total=epochs * images_per_epoch, epoch=1, epochs=epochs, loss=float("nan")
        )

    def step(self, epoch: int, images: int, loss: float) -> None:
        """One batch of `images` is done, in `epoch` (from 1)."""
        self._bars.update(self._bar, advance=images, epoch=epoch, loss=loss)

    def epoch_ends(self, epoch: int, mean_loss: float, images_per_second: float) -> None:
        """`epoch` (from 1) is done."""
        tenth = (epoch * LOG_LINES) // self._epochs > ((epoch - 1) * LOG_LINES) // self._epochs
        if self._show and tenth and not self._console.is_terminal:
            line = f"epoch {epoch}/{self._epochs}, loss {mean_loss:.4f}, {images_per_second:,.0f} images/s"
            self._console.print(f"{self._label}: {line}", soft_wrap=True)

    def __enter__(self) -> "EpochProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
