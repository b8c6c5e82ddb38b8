"""What a command says of images that failed, and its exit code."""

import pandas as pd
import pytest
import typer

from raysmooth.commands.outcome import print_failures
from raysmooth.pipeline.analysis.failures import Failures, failures
from raysmooth.rows import warn_of_failures


def failed(count: int, images: int = 9) -> list[Failures]:
    """A run of which `count` images failed."""
    columns = {"run_id": "a" * 16, "image_id": range(images), "file": [f"cat/{number}.png" for number in range(images)]}
    status = ["error"] * count + ["ok"] * (images - count)
    return failures(pd.DataFrame({**columns, "status": status, "error": ["too dark"] * images}))


def test_below_half_a_line_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures(failed(4))
    assert capsys.readouterr().err == ("raysmooth: 4 of 9 images failed: too dark; the first: image 0 (cat/0.png)\n")


def test_with_half_of_them_the_command_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        print_failures([*failed(1), *failed(5, 10)], ["plain", "mse"])
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.splitlines() == [
        "raysmooth: stage plain: 1 of 9 images failed: image 0 (cat/0.png): too dark",
        "raysmooth: FAILED: stage mse: 5 of 10 images failed: too dark; the first: image 0 (cat/0.png)",
    ]


def test_from_python_it_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"6 of 9 images failed: too dark; the first: image 0 \(cat/0\.png\)"):
        warn_of_failures(failed(6))
    warn_of_failures([])
