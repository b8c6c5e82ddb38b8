"""Runs whose manifests were deleted, or not copied: commands that leave them out, or cannot check them, say so."""

import shutil
from pathlib import Path

import pytest
from command import command, refused
from small_runs import certified

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.derived.recertify import recertify

SETTINGS = {"dataset": "digits", "classifier": "base_classifiers:Linear", "max": 2, "n0": 10, "n": 60, "alpha": 0.1}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two runs, of which the first has no manifest; its id is in the file `gone`."""
    for sigma in (0.25, 0.5):
        certified(tmp_path / "out", **SETTINGS, sigma=sigma)
    gone = sorted((tmp_path / "out" / "runs").iterdir())[0]
    (gone / "manifest.json").unlink()
    (tmp_path / "gone").write_text(gone.name)
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("words", "consequence"),
    [
        (["status", "{}"], "not shown"),
        (["status", "{}", "--json"], "not shown"),
        (["report", "{}"], "their rows are not compared with their settings"),
        (["recertify", "{}", "--alpha", "0.2"], "left out"),
    ],
)
def test_a_run_without_a_manifest_is_named(
    out: Path, capsys: pytest.CaptureFixture[str], words: list[str], consequence: str
) -> None:
    gone = (out.parent / "gone").read_text()
    code, printed, err = command(capsys, *(word.format(out) for word in words))
    line = f"1 run with rows but without runs/<run id>/manifest.json ({gone}): {consequence}; copy the whole folder of "
    assert code == 0
    assert [one for one in err.splitlines() if "manifest.json" in one] == [f"raysmooth: {line}results, runs/ too"]
    assert (gone in printed) is False


def test_a_run_of_which_nothing_is_finished_is_not_missed(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its folder is there before its manifest."""
    (out / "runs" / "0123456789abcdef" / "counts").mkdir(parents=True)
    _, _, err = command(capsys, "status", str(out))
    assert "0123456789abcdef" not in err


def test_other_runs_are_recertified(out: Path) -> None:
    assert set(recertify(str(out), alpha=0.2)["sigma"]) < {0.25, 0.5}


def test_a_file_in_place_of_the_certificates_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, rows = tmp_path / "out", tmp_path / "out" / "certificates"
    certified(out, **SETTINGS, sigma=0.25)
    shutil.rmtree(rows)
    rows.touch()
    expected = f"{rows} is a file, not a folder of certificates: fetch the results again"
    assert refused(capsys, "report", str(out)) == expected
    with pytest.raises(RaysmoothError, match=f"^{rows} is a file, and results are written into a folder of that name"):
        certified(out, **SETTINGS, sigma=0.25)
