"""A paper's training times beside ours, worked out by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.tune.experiments.settings import PaperSettings
from raysmooth.tune.experiments.training_times import compare_times, training_time
from raysmooth.tune.training.training_folder import metrics_of

ROW: dict[str, Any] = {"row": "DnCNN, MSE", "ours": ["mse"], "epochs": 90, "seconds": 31, "hours": 0.78}


def trained(weights: Path, images: int, speeds: list[float], device: str = "cpu") -> Path:
    """Weights of a training, with its speed in each epoch."""
    card = {"architecture": "x", "data": {"images": images}, "run": {"device": device}}
    save_weights(weights, torch.nn.Linear(1, 1), card)
    metrics_of(weights).parent.mkdir()
    rows = [{"epoch": epoch, "images_per_second": speed} for epoch, speed in enumerate(speeds, 1)]
    pd.DataFrame(rows).to_csv(metrics_of(weights), index=False)
    return weights


def test_the_time_of_a_training_is_that_of_its_epochs(tmp_path: Path) -> None:
    weights = trained(tmp_path / "a.safetensors", 1000, [100.0, 50.0, 200.0])
    assert training_time(weights) == (3, 10 + 20 + 5, "cpu")
    metrics_of(weights).unlink()
    assert training_time(weights) is None


def test_the_papers_times_and_ours(tmp_path: Path) -> None:
    one = trained(tmp_path / "a.safetensors", 1000, [100.0, 50.0, 200.0])  # 35 s
    other = trained(tmp_path / "b.safetensors", 1000, [100.0, 100.0, 100.0], "cuda")  # 30 s
    paper = checked(PaperSettings, {"source": "Author 2022", "table": 1, "times": [ROW, {**ROW, "ours": ["no"]}]})
    table = compare_times(paper.times, {"mse": [one, other]})
    assert table.columns.tolist() == ["model", "whose", "epochs", "s/epoch", "hours", "device"]
    assert table.to_numpy().tolist() == [
        ["DnCNN, MSE", "paper", "90", "31.0", "0.78", ""],
        # 65 s in 6 epochs: 10.833 s; 32.5 s are 0.0090 hours. Both are rounded up.
        ["DnCNN, MSE", "ours", "3", "10.84", "0.01", "cpu, cuda"],
        ["DnCNN, MSE", "paper", "90", "31.0", "0.78", ""],
        ["DnCNN, MSE", "ours", "-", "-", "-", ""],
    ]


def test_a_table_has_numbers_or_times() -> None:
    with pytest.raises(RaysmoothError, match="table 1 without its numbers"):
        checked(PaperSettings, {"source": "Author 2022", "table": 1})
    numbers = {"layout": "single", "radii": [0.5], "rows": [{"row": "A", "values": [1.0]}]}
    with pytest.raises(RaysmoothError, match="'numbers:' and 'times:' are two tables"):
        checked(PaperSettings, {"source": "Author 2022", "table": 1, "numbers": numbers, "times": [ROW]})
