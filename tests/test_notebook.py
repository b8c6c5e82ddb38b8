"""What a user sees in IPython and in a notebook."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from digits_runs import DIGITS
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import raysmooth
from raysmooth.pipeline.report.displays import FigureFile, WrittenFile
from raysmooth.rows import in_reading_order


@pytest.fixture
def cell() -> Callable[[str], str]:
    """Runs a cell in IPython and returns what it printed."""
    shell = InteractiveShell.instance(colors="nocolor")

    def run(source: str) -> str:
        with capture_output() as captured:
            shell.run_cell(source)
        return str(captured.stdout + captured.stderr)

    return run


def test_a_refusal_is_its_line(cell: Callable[[str], str]) -> None:
    printed = cell("import raysmooth\nraysmooth.certify(dataset='digitz', classifier='digits_cnn', sigma=0.25)")
    assert printed.startswith("RaysmoothError: unknown data set 'digitz': did you mean 'digits'?")
    assert printed.count("\n") == 1


def test_another_error_keeps_its_traceback(cell: Callable[[str], str]) -> None:
    assert "Traceback" in cell("1 / 0")


def test_rows_begin_with_what_differs_and_are_sorted_by_image() -> None:
    rows = pd.DataFrame(
        {
            "dataset": "digits",
            "sigma": [0.5, 0.5, 0.25, 0.25],
            "alpha": 0.001,
            "image_id": [7, 3, 7, 3],
            "prediction": [1, 2, 3, 4],
            "file": "a.png",
            "correct": True,
            "radius": 0.1,
            "label": 4,
            "prediction_name": "one",
            "run_id": ["b", "b", "a", "a"],
        }
    )
    ordered = in_reading_order(rows)
    assert list(ordered) == [
        "image_id", "label", "prediction", "prediction_name", "radius", "correct", "file", "sigma", "run_id",
        "dataset", "alpha",
    ]  # fmt: skip
    assert ordered[["image_id", "sigma", "prediction"]].to_numpy().tolist() == [
        [3, 0.25, 4],
        [3, 0.5, 2],
        [7, 0.25, 3],
        [7, 0.5, 1],
    ]
    assert in_reading_order(pd.DataFrame()).empty


def certified(out: Path, **changes: Any) -> pd.DataFrame:
    fast = {"replicas": 1, "batch_size": 100, "precision": "float32"}
    return raysmooth.certify(**{**DIGITS, **fast, "max": 4, "n": 60, "n0": 20, "out": out, **changes}, progress=False)


@pytest.mark.usefixtures("one_pool")
def test_results_show_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    rows = certified(out, sigma=[0.5, 0.25])
    assert rows[["image_id", "sigma"]].to_numpy().tolist() == [[i, s] for i in range(4) for s in (0.25, 0.5)]
    assert list(rows)[:3] == ["image_id", "label", "prediction"]
    pd.testing.assert_frame_equal(raysmooth.read_certificates(out)[list(rows)], rows, check_dtype=False)
    again = raysmooth.recertify(out, run=str(rows["run_id"].iloc[0]), alpha=0.01)
    assert list(again) == list(rows)
    report = raysmooth.report(out, table="runs,radii", where="sigma=0.5", radii=[0, 0.1])
    assert report.path == out / "report" / "report.html"
    assert {file.name for file in report.files} >= {"table.md", "curves.png", "report.html"}
    html = report._repr_html_()
    assert html.count("<table") == 2
    assert html.count("data:image/png;base64,") == 2
    assert "r=0.1" in html
    assert len(raysmooth.status(out)) == 2
    figure = raysmooth.show(str(out), 3, trust_code=True)
    assert os.fspath(figure) == str(figure) == str(out / "report" / "image-3.png")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(figure.lines) == 3
    assert capsys.readouterr().out == ""


def test_a_written_file_is_a_path(tmp_path: Path) -> None:
    file = WrittenFile(tmp_path / "a.txt")
    Path(file).write_text("x")
    assert open(file).read() == "x"  # noqa: SIM115
    assert file == tmp_path / "a.txt" == WrittenFile(tmp_path / "a.txt").path
    assert {file: 1}[WrittenFile(tmp_path / "a.txt")] == 1
    assert issubclass(FigureFile, os.PathLike)
