"""What a user sees in IPython and in a notebook."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, SUPPORT
from digits_runs import DIGITS
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbclient import NotebookClient

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


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("certify(dataset='digits', classifier='digits_cnn', sigma=0.25)", "finished work is on disk; the same call"),
        ("report('results')", "interrupted"),
    ],
)
def test_the_stop_button_leaves_one_line(
    cell: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, call: str, said: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for module in ("drawing.driver", "report.report", "report.report_data"):  # not first imported with `stop` in them
        import_module(f"raysmooth.pipeline.{module}")
    monkeypatch.setattr("raysmooth.pipeline.drawing.driver.run_procedure", stop)
    monkeypatch.setattr("raysmooth.pipeline.analysis.certificates.read_certificates", stop)
    printed = cell(f"import raysmooth\nraysmooth.{call}")
    assert printed.startswith(f"KeyboardInterrupt: {said}")
    assert printed.count("\n") == 1
    with pytest.raises(KeyboardInterrupt):
        raysmooth.certify(dataset="digits", classifier="digits_cnn", sigma=0.25)


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
    assert list(rows)[:7] == [
        "image_id", "label", "label_name", "prediction", "prediction_name", "radius", "correct",
    ]  # fmt: skip
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
    with open(file) as opened:
        assert opened.read() == "x"
    assert file == tmp_path / "a.txt" == WrittenFile(tmp_path / "a.txt").path
    assert {file: 1}[WrittenFile(tmp_path / "a.txt")] == 1
    assert issubclass(FigureFile, os.PathLike)


CELLS = """
import raysmooth
session = raysmooth.session("local")
---
weights = raysmooth.train_classifier(
    dataset="digits", classifier="digits_cnn", objective="gaussian", sigma=0.25, epochs=2, out="digits.safetensors"
)
---
common = dict(dataset="digits", classifier="digits_cnn", classifier_weights=weights, n=200, n0=20, max=5, replicas=1)
rows = raysmooth.certify(sigma=0.25, **common)
rows
---
denoiser = raysmooth.train_denoiser(
    dataset="digits", denoiser="dncnn:channels=1,depth=3,width=4", objective="mse", sigma=0.25, epochs=1, max=64,
    out="mse.safetensors"
)
raysmooth.certify(sigma=0.25, denoiser_weights=denoiser, denoiser="dncnn:channels=1,depth=3,width=4", **common)
---
%%writefile my_models.py
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
---
raysmooth.certify(dataset="digits", classifier="my_models:make", sigma=0.25, n=200, n0=20, max=5, replicas=1)
---
raysmooth.certify(dataset="digitz", classifier="digits_cnn", sigma=0.25)
---
raysmooth.report("results")
---
raysmooth.show("results", 3, trust_code=True)
---
!{command} status results --json
---
session.close()
"""
"""The five things of the README."""


@pytest.mark.processes
def test_the_five_things_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executed notebook holds what the user saw."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), str(REPOSITORY)]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # The kernel names a backend of its own to all commands that start from it.
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    cells = CELLS.replace("{command}", f"{sys.executable} -m raysmooth").strip().split("---\n")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
    client = NotebookClient(book, timeout=280, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    session, trained, certified, denoised, _, own, refused, report, shown, status, _ = (
        cell.outputs for cell in book.cells
    )
    for outputs in (session, trained, certified, denoised, own, report, shown):
        assert [one for one in outputs if one.output_type == "error"] == []
        assert [one.text for one in outputs if one.get("name") == "stderr" and "manifest says" not in one.text] == []
    notes = [one.data["text/plain"] for one in certified if one.output_type == "display_data"]
    assert len(notes) == 1, "one block, in which the bar is updated"
    assert "5/5 images" in notes[0]
    assert "epoch 2/2" in trained[0].data["text/plain"]
    assert "<th>image_id</th>\n      <th>label</th>\n      <th>label_name</th>" in certified[-1].data["text/html"]
    assert refused[0].traceback == [f"RaysmoothError: {refused[0].evalue}"]
    assert refused[0].evalue.startswith("unknown data set 'digitz'")
    assert report[-1].data["text/html"].count("<table") == report[-1].data["text/html"].count("<img") == 1
    pictures = [one for one in shown if "image/png" in one.get("data", {})]
    assert len(pictures) == 1
    assert len(json.loads("".join(one.text for one in status))) == 3
    assert "\r" not in json.dumps([cell.outputs for cell in book.cells[:9]])


class Unfit:
    """Whose words fill a screen."""

    shape = (100, 28, 28)

    def __repr__(self) -> str:
        return "0.0\n" * 1000


CALLS: dict[str, Callable[[Any], object]] = {
    "certify": lambda unfit: raysmooth.certify(dataset=unfit, classifier="digits_cnn", sigma=0.25),
    "certify, out": lambda unfit: raysmooth.certify(dataset="digits", classifier="digits_cnn", sigma=0.25, out=unfit),
    "certify, config": lambda unfit: raysmooth.certify(unfit),
    "certify_model": lambda unfit: raysmooth.certify_model(unfit, np.zeros((1, 1, 8, 8)), sigma=0.25),
    "certify_model, images": lambda unfit: raysmooth.certify_model(len, unfit, sigma=0.25),
    "predict_model, rejector": lambda unfit: raysmooth.predict_model(len, np.zeros(1), sigma=0.25, rejector=unfit),
    "predict": lambda unfit: raysmooth.predict(dataset="digits", classifier=unfit, sigma=0.25),
    "optimize_sigma": lambda unfit: raysmooth.optimize_sigma(dataset="digits", classifier=unfit, sigma=0.25),
    "train_classifier": lambda unfit: raysmooth.train_classifier(dataset="digits", classifier="digits_cnn", out=unfit),
    "train_denoiser": lambda unfit: raysmooth.train_denoiser(dataset=unfit, denoiser="dncnn", out="a.safetensors"),
    "train_rejector": lambda unfit: raysmooth.train_rejector(
        dataset="digits", classifier=unfit, sigma=0.25, out="a.st"
    ),
    "sweep": lambda unfit: raysmooth.sweep(train=unfit),
    "run": lambda unfit: raysmooth.run(unfit),
    "run, only": lambda unfit: raysmooth.run("digits", only=unfit),
    "gallery": lambda unfit: raysmooth.gallery(dataset="digits", sigma=0.25, denoiser_weights=unfit),
    "show": lambda unfit: raysmooth.show(unfit, 3),
    "show, image_id": lambda unfit: raysmooth.show("results", unfit),
    "report": lambda unfit: raysmooth.report(unfit),
    "report, radii": lambda unfit: raysmooth.report("results", radii=unfit),
    "recertify": lambda unfit: raysmooth.recertify("results", alpha=unfit),
    "import_logs": lambda unfit: raysmooth.import_logs(unfit, dataset="digits", classifier="digits_cnn"),
    "read_certificates": lambda unfit: raysmooth.read_certificates(unfit),
    "status": lambda unfit: raysmooth.status(unfit),
    "session": lambda unfit: raysmooth.session(unfit),
}


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("call", CALLS)
def test_objects_given_by_mistake_are_named_and_not_printed(call: str) -> None:
    with pytest.raises(raysmooth.RaysmoothError, match=r"test_notebook\.Unfit of shape \(100, 28, 28\)") as refusal:
        CALLS[call](Unfit())
    assert "0.0" not in str(refusal.value)
