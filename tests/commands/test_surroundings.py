"""Commands where the locale is not UTF-8, disks are full, pipes are closed and files cannot be read."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from command import command, refused
from conftest import REPOSITORY
from small_runs import opened

from raysmooth.pipeline.progress.progress_bars import Display


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A file on a full disk."""
    with open("/dev/full", "w") as file:
        yield file
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # it can be closed then


@pytest.fixture
def closed() -> Iterator[TextIO]:
    """A pipe that nothing reads any more."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        yield pipe


def test_what_the_system_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files", path)

    monkeypatch.setattr("raysmooth.pipeline.status.run_status.StatusReader", refuse)
    assert refused(capsys, "status", "x" * 250) == f"{'x' * 197}...: Too many open files"


def test_results_on_a_full_disk_are_not_a_success(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, full: TextIO
) -> None:
    monkeypatch.setattr(sys, "stdout", full)
    code, _, err = command(capsys, "list", "datasets")
    assert (code, err) == (2, "raysmooth: standard output cannot be written: No space left on device\n")


def test_a_reader_may_have_read_enough(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, closed: TextIO
) -> None:
    monkeypatch.setattr(sys, "stdout", closed)
    code, _, err = command(capsys, "list", "datasets")
    assert (code, err) == (0, "")


def test_a_watch_ends_with_its_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, closed: TextIO
) -> None:
    with opened(tmp_path, dataset="digits", max=1, sigma=0.25, n=10, n0=5, classifier="base_classifiers:Linear"):
        monkeypatch.setattr(sys, "stdout", closed)
        assert command(capsys, "status", str(tmp_path), "--watch", "0.1", "--json")[0] == 0


def test_messages_on_a_full_disk_end_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, full: TextIO
) -> None:
    monkeypatch.setattr(sys, "stderr", full)
    with Display(True) as display:
        for _ in range(3):
            display.note("first image finished")
    code, _, _ = command(capsys, "list", "nothing")
    assert code == 2


@pytest.mark.processes
def test_without_a_utf_8_locale_names_stay_what_they_are(tmp_path: Path) -> None:
    """And a closed standard output is not given to another file."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code = "import sys; from raysmooth.__main__ import main; main()"
    for start in (["-m", "raysmooth"], ["-c", code]):
        done = subprocess.run(
            [sys.executable, *start, "report", f"{tmp_path}/r\u00e9sultats"],
            env=environment, cwd=REPOSITORY, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1), check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert f"raysmooth: there is no {tmp_path}/r\u00e9sultats" in done.stderr.decode()


@pytest.mark.processes
def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    script = 'rmdir "$PWD" && exec "$0" -m raysmooth list datasets'
    found = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=lost, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        "raysmooth: the current folder is gone (No such file or directory): change to another one\n"
    )
