"""What a command says of images that failed, and its exit code."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import typer
from command import command
from conftest import REPOSITORY

from raysmooth.commands.outcome import print_failures
from raysmooth.pipeline.analysis.failures import Failures, failures
from raysmooth.rows import warn_of_failures
from raysmooth.tune.sweeps.sweep import SweepResult


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


@pytest.mark.parametrize(("count", "code"), [(4, 0), (5, 1)])
def test_an_experiment_of_which_most_images_failed_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int, code: int
) -> None:
    def run(request: object, command: str, on_failures: Callable[[list[tuple[str, Failures]]], None]) -> None:
        on_failures([("certify plain", one) for one in failed(count)])

    monkeypatch.setattr("raysmooth.tune.experiments.run_and_report.run_and_report", run)
    found, _, errors = command(capsys, "run", "digits")
    assert found == code
    assert f"stage certify plain: {count} of 9 images failed" in errors


@pytest.mark.parametrize(
    ("statuses", "images", "code"),
    [(["failed", "failed"], 0, 1), (["failed", "finished"], 0, 0), (["finished", "finished"], 5, 1)],
)
def test_a_sweep_of_which_all_trials_or_most_images_failed_is_exit_code_1(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    statuses: list[str],
    images: int,
    code: int,
) -> None:
    trials = pd.DataFrame({"trial_id": ["a", "b"], "status": statuses, "error": ["no memory", None], "last": True})
    certificates = pd.DataFrame({"run_id": ["r" * 16]}) if images else None
    monkeypatch.setattr(
        "raysmooth.tune.sweeps.sweep.run_sweep", lambda settings: SweepResult(trials, None, certificates)
    )
    monkeypatch.setattr("raysmooth.tune.sweeps.report.write_sweep_report", lambda *_: [])
    monkeypatch.setattr("raysmooth.tune.sweeps.report.print_trials", lambda *_: None)
    monkeypatch.setattr("raysmooth.tune.sweeps.report.named_after_trials", lambda rows, *_: rows)
    monkeypatch.setattr("raysmooth.commands.train.print_summary", lambda rows: None)
    monkeypatch.setattr("raysmooth.pipeline.analysis.failures.failures", lambda rows: failed(images))
    found, _, errors = command(
        capsys, "sweep", str(REPOSITORY / "experiments/digits-sweep.yaml"), "--out", str(tmp_path)
    )
    assert found == code
    assert ("1 of 2 trials failed" in errors) == (statuses.count("failed") == 1)
    assert ("FAILED: 5 of 9 images failed" in errors) == (images == 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "results"], "raysmooth: interrupted"),
        (["run", "digits"], "raysmooth: interrupted; finished work is on disk, rerun the same command to resume"),
    ],
)
def test_an_interrupt_promises_to_resume_only_where_something_is_resumed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raysmooth.tune.experiments.run_and_report.run_and_report", interrupted)
    monkeypatch.setattr("raysmooth.pipeline.analysis.certificates.read_certificates", interrupted)
    code, _, errors = command(capsys, *words)
    assert (code, errors.splitlines()[-1]) == (130, said)
