"""Progress of a training: a bar on a terminal, about ten lines in a log."""

from rich.progress import ProgressColumn, Task, TextColumn
from rich.text import Text

from raysmooth.pipeline.progress.progress_bars import Display

LOG_LINES = 10
"""Lines printed by a training without a terminal."""


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} images/s" if speed else "", style="cyan")


class EpochProgress(Display):
    """The bar of one training."""

    def __init__(self, label: str, epochs: int, images_per_epoch: int, epochs_done: int = 0, show: bool = True) -> None:
        epoch = TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}")
        super().__init__(show, epoch, TextColumn("loss {task.fields[loss]:.4f}"), _ImagesPerSecond())
        self._label = label
        self._epochs = epochs
        total = epochs * images_per_epoch
        done = epochs_done * images_per_epoch
        self._bar = self._bars.add_task(
            label, total=total, completed=done, epoch=epochs_done, epochs=epochs, loss=float("nan")
        )

    def step(self, epoch: int, images: int, loss: float) -> None:
        """A batch of `images` images of `epoch` (from 1) is done."""
        self._bars.update(self._bar, advance=images, epoch=epoch, loss=loss)

    def epoch_ends(self, epoch: int, mean_loss: float, images_per_second: float) -> None:
        """`epoch` (from 1) is done."""
        tenth = (epoch * LOG_LINES) // self._epochs > ((epoch - 1) * LOG_LINES) // self._epochs
        if tenth and not self._live:
            line = f"epoch {epoch}/{self._epochs}, loss {mean_loss:.4f}, {images_per_second:,.0f} images/s"
            self.note(f"{self._label}: {line}")
