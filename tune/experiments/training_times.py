"""A paper's training times, and ours below each row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raysmooth.common.late_imports import LateModule
from raysmooth.pipeline.report.rounding import floored
from raysmooth.tune.experiments.paper_comparison import MISSING, OURS, PAPERS, WHOSE
from raysmooth.tune.experiments.settings import TimesSettings

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LateModule("pandas")

NUMBERS = ("epochs", "s/epoch", "hours")
"""The columns of numbers."""


class TrainingTime(NamedTuple):
    """The `epochs` of a training, the `seconds` in all, validation aside, and the kind of device."""

    epochs: int
    seconds: float
    device: str


def training_time(weights: Path) -> TrainingTime | None:
    """The time of the training that wrote `weights`, by its images and the speed of each epoch; None where its folder
    does not have them.
    """
    from raysmooth.actors.models.weights import read_weights
    from raysmooth.tune.training.training_folder import metrics_of

    card, file = read_weights(weights).card, metrics_of(weights)
    data, run = card.get("data"), card.get("run")
    if not (isinstance(data, Mapping) and isinstance(run, Mapping) and file.is_file()):
        return None
    speeds = pd.read_csv(file)["images_per_second"]
    return TrainingTime(len(speeds), float((data["images"] / speeds).sum()), str(run["device"]))


def compare_times(rows: Sequence[TimesSettings], trained: Mapping[str, Sequence[Path]]) -> "pd.DataFrame":
    """Two rows for each of `rows`: the paper's times, and ours, the mean over its trainings; all text, "-" for a
    missing number. `trained` are weights by the names in `ours`. Columns: model, whose, those of `NUMBERS`, and our
    device. Ours are rounded up.
    """
    lines = []
    for row in rows:
        theirs = [str(value) for value in (row.epochs, row.seconds, row.hours)]
        lines.append(["", row.row, PAPERS, *theirs])
        found = [time for name in row.ours for path in trained.get(name, ()) if (time := training_time(path))]
        epochs, seconds = sum(time.epochs for time in found), sum(time.seconds for time in found)
        ours = [MISSING] * len(NUMBERS)
        if epochs:
            of_each = [seconds / epochs, seconds / 3600 / len(found)]
            ours = [str(epochs // len(found)), *(floored(-value, 2).removeprefix("-") for value in of_each)]
        lines.append([", ".join(dict.fromkeys(time.device for time in found)), row.row, OURS, *ours])
    table = pd.DataFrame(lines, columns=["device", "model", WHOSE, *NUMBERS])
    return table[["model", WHOSE, *NUMBERS, "device"]]
