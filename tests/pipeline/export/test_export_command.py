"""`raysmooth export`: to standard output or a file, whole or refused in one line; leaderboard records."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from certificate_rows import BETTER, PLAIN
from command import command
from counted_runs import EASY, stored_run
from exported_runs import RUN, written_run
from manifests import manifest_of
from object_store import BUCKET, Server

import raysmooth
from raysmooth.commands import export as export_command
from raysmooth.pipeline.export.formats import EXPORTS
from raysmooth.storage.location import located

OTHER = "fedcba9876543210"
CIFAR: dict[str, Any] = {"dataset": "cifar10", "index_set": "every 50th of 400 (8 images)"}


def test_the_command_prints_what_the_function_returns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written_run(tmp_path, PLAIN, **CIFAR)
    for name in EXPORTS:
        code, printed, _ = command(capsys, "export", str(tmp_path), "--format", name)
        assert (code, printed) == (0, raysmooth.export(tmp_path, name))


def test_the_help_names_all_formats() -> None:
    assert tuple(EXPORTS) == export_command.FORMATS


def test_a_file_is_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written_run(tmp_path, PLAIN)
    (tmp_path / "new").mkdir()
    file = tmp_path / "new" / "card.json"
    code, printed, notes = command(
        capsys, "export", str(tmp_path), "--format", "json", "--run", RUN[:6], "--radii", "0,36/255", "--out", str(file)
    )
    assert (code, printed) == (0, "")
    assert f"written: {file}" in notes
    (card,) = json.loads(file.read_text())["runs"]
    assert [at["radius"] for at in card["certified"]] == [0, 36 / 255]
    assert list(file.parent.iterdir()) == [file]


def test_leaderboard_records(tmp_path: Path) -> None:
    """Of eight images PLAIN has three within 0.25, BETTER five: 37.5 and 62.5 %."""
    written_run(tmp_path, PLAIN, **CIFAR)
    written_run(tmp_path, BETTER, OTHER, sigma=0.5, **CIFAR)
    text = raysmooth.export(tmp_path, "sok", title="T: a title", link="https://example.org/?a=b", venue="V 2026")
    board = yaml.safe_load(text)
    assert [one["setting"].partition("epsilon=")[2] for one in board] == ["36/255\\)", "0.25\\)", "1.0\\)", "2.0\\)"]
    assert board[1]["setting"] == "CIFAR-10,&nbsp; \\(\\ell_2\\),&nbsp; \\(\\epsilon=0.25\\)"
    scores = [[record["score"] for record in one["records"]] for one in board]
    assert scores[1] == ["62.5%", "37.5%"]  # the best first
    assert scores[2:] == [["0.0%", "0.0%"]] * 2
    record = board[1]["records"][0]
    assert list(record) == ["score", "title", "link", "venue", "prob", "comment"]
    assert (record["title"], record["link"], record["venue"]) == ("T: a title", "https://example.org/?a=b", "V 2026")
    assert record["prob"] is True
    assert "5 of 8 images, 95 % interval " in record["comment"]
    assert f"n=10000, alpha=0.001; raysmooth run {OTHER}" in record["comment"]
    assert "1 failed and count as not certified" in board[1]["records"][1]["comment"]


def test_other_radii_have_settings_of_that_form(tmp_path: Path) -> None:
    written_run(tmp_path, [(1, 0.3), (1, 0.3), (-1, 0.0)])
    (one,) = yaml.safe_load(raysmooth.export(tmp_path, "sok", radii=[0.3]))
    assert one["setting"] == "digits,&nbsp; \\(\\ell_2\\),&nbsp; \\(\\epsilon=0.3\\)"
    assert one["records"][0]["score"] == "66.6%"


def refused(capsys: pytest.CaptureFixture[str], out: Path, *flags: str) -> str:
    code, printed, err = command(capsys, "export", str(out), *flags)
    assert (code, printed) == (2, "")
    said = [line for line in err.splitlines() if "loading" not in line]
    assert len(said) == 1, err
    return said[0].removeprefix("raysmooth: ")


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = written_run(tmp_path, PLAIN)
    assert refused(capsys, out, "--format", "jason").startswith("unknown export format 'jason': did you mean 'json'?")
    assert refused(capsys, out, "--format", "json", "--title", "T").startswith("--title belongs to --format sok: leave")
    assert refused(capsys, out, "--format", "locuslab", "--name", "n").startswith("--name belongs to --format json or ")
    assert refused(capsys, out, "--format", "locuslab", "--radii", "0.5").startswith("--radii: --format locuslab has")
    assert refused(capsys, out, "--format", "json", "--radii", "a").startswith("--radii a: write numbers")
    assert refused(capsys, out, "--format", "json", "--run", "9").startswith("--run 9: there is no such run")
    expected = f"run {RUN}: the board has no setting for digits in l2: write --radii"
    assert refused(capsys, out, "--format", "sok").startswith(expected)
    written_run(tmp_path, PLAIN, OTHER)
    assert refused(capsys, out, "--format", "locuslab").startswith("--format locuslab takes one run: write --run ")
    (tmp_path / "file").write_text("")
    within = str(tmp_path / "file" / "card.json")
    assert refused(capsys, out, "--format", "json", "--out", within).startswith(f"--out {within}: Not a directory")


def test_predictions_and_runs_without_labels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored_run(tmp_path, [EASY])
    predict = manifest_of(procedure="predict")
    folder = tmp_path / "runs" / predict["run_id"]
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(predict))
    said = refused(capsys, tmp_path, "--format", "json", "--run", predict["run_id"][:8])
    assert said.endswith(f"run {predict['run_id']} (predict) has no certificates: choose a run of certify or recertify")
    unlabelled = written_run(tmp_path / "unlabelled", PLAIN, label=None)
    said = refused(capsys, unlabelled, "--format", "sok", "--radii", "0.5")
    assert said.startswith(f"run {RUN} has no record, as its shares are 'certified (class unchecked)'")


@pytest.mark.processes
def test_from_an_object_store_into_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.address)
    run = stored_run(located(f"s3://{BUCKET}/results"), [EASY])
    text = raysmooth.export(f"s3://{BUCKET}/results", "json", radii=[0], out=f"s3://{BUCKET}/cards/card.json")
    assert server.contents("cards") == {"cards/card.json": text.encode()}
    assert json.loads(text)["runs"][0]["run_id"] == run
