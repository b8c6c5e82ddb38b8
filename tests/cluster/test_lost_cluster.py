"""The cluster that a command has joined ends in the middle of it: one line, exit code 2, and finished rows stay."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import REPOSITORY, SUPPORT
from own_head import Head, own_head
from started_runs import rows_on_disk, wait_for_rows

pytestmark = pytest.mark.processes

IMAGES = 60
CERTIFY = f"--dataset digits --max {IMAGES} --sigma 0.25 --n 500 --n0 40 --block-size 200 --batch-size 100"
CERTIFY += " --compile off"


def start(head: Head, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["certify", *CERTIFY.split(), "--out", str(out), *more]
    return command(head, *words, "--classifier", "base_classifiers:Slow:seconds=0.1")


def command(head: Head, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "raysmooth", *words],
        cwd=SUPPORT,  # where the workers find the classifiers too
        env=head.environment | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def kill_gcs(head: Head) -> None:
    children = psutil.Process(head.process.pid).children(recursive=True)
    (gcs,) = (child for child in children if child.name() == "gcs_server")
    gcs.kill()


def stop_all(head: Head) -> None:
    """All of it at once, as where its machine is switched off."""
    for child in psutil.Process(head.process.pid).children(recursive=True):
        child.send_signal(signal.SIGKILL)
    head.process.kill()


def end_raylet(head: Head) -> None:
    """As `ray stop` does first; the head outlives it."""
    children = psutil.Process(head.process.pid).children(recursive=True)
    (raylet,) = (child for child in children if child.name() == "raylet")
    raylet.terminate()


@pytest.mark.parametrize("end", [kill_gcs, stop_all, end_raylet])
def test_a_run_ends_in_one_line_and_resumes_elsewhere(tmp_path: Path, end: Callable[[Head], None]) -> None:
    with own_head(cpus=2) as head:
        process = start(head, tmp_path)
        wait_for_rows(tmp_path, process)
        end(head)
        since = time.monotonic()
        _, errors = process.communicate(timeout=55)  # after 60 s Ray itself would abort, with code 1
    assert process.returncode == 2, errors
    lines = errors.splitlines()
    assert lines[-1].startswith("raysmooth: stopped: the Ray cluster at "), errors
    assert lines[-1].endswith("rerun the same command to resume, on a cluster that runs or with --address local")
    assert sum("died" in line for line in lines) == 0, errors
    assert sum("joining this machine's Ray cluster at " in line for line in lines) == 1
    before = rows_on_disk(tmp_path)
    assert 0 < before < IMAGES, f"{before} rows after {time.monotonic() - since:.1f} s"
    again = start(head, tmp_path, "--address", "local")
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert f"{before} of {IMAGES} images are finished" in errors
    assert rows_on_disk(tmp_path) == IMAGES


def assert_ends_in_one_line(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=55)
    assert process.returncode == 2, errors
    line = errors.splitlines()[-1]
    assert line.startswith("raysmooth: stopped: the Ray cluster at "), errors
    assert line.endswith("rerun the same command to resume, on a cluster that runs or with --address local")
    assert "Traceback" not in errors


def wait_for_files(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while len(list(folder.iterdir())) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_workers_that_train_resume_elsewhere(tmp_path: Path) -> None:
    """The head gets SIGTERM while both workers are in the second epoch."""
    started, out = tmp_path / "started", tmp_path / "w.safetensors"
    started.mkdir()
    words = "train classifier --dataset digits --objective gaussian --sigma 0.25 --epochs 2 --max 100 --workers 2"
    words += f" --batch-size 100 --out {out} --classifier sweeps:meeting_cnn:folder={started},count=3"
    with own_head(cpus=2, drain_seconds=2) as head:
        process = command(head, *words.split())
        wait_for_files(started, 2, process)
        head.process.terminate()
        assert_ends_in_one_line(process)
        metrics = out.with_suffix(".training") / "metrics.csv"
        before = metrics.read_text()
        assert len(before.splitlines()) == 2, before  # the head of the table, and the first epoch
        again = command(head, *words.split(), "--address", "local")
        _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert metrics.read_text().startswith(before)
    assert len(metrics.read_text().splitlines()) == 3
    assert out.exists()


SWEEP = """
train: classifier
settings: {{dataset: digits, objective: gaussian, sigma: 0.25, epochs: 2, max: 100, batch_size: 50}}
search: {{classifier: [digits_cnn, "sweeps:meeting_cnn:folder={started},count=2"]}}
metric: acr
validation: {{images: 8, n: 100, n0: 20}}
max_concurrent_trials: 1
out: {out}
"""


def test_a_sweep_keeps_its_finished_trials(tmp_path: Path) -> None:
    """The head gets SIGTERM while the second trial trains."""
    started, out, file = tmp_path / "started", tmp_path / "out", tmp_path / "sweep.yaml"
    started.mkdir()
    file.write_text(SWEEP.format(started=started, out=out))
    with own_head(cpus=2, drain_seconds=2) as head:
        process = command(head, "sweep", str(file), "--trust-code")
        wait_for_files(started, 1, process)
        time.sleep(6)  # Ray Tune saves the state of trials every 5 s
        head.process.terminate()
        assert_ends_in_one_line(process)
        weights = {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")}
        assert weights
        (started / "other").touch()
        again = command(head, "sweep", str(file), "--trust-code", "--address", "local")
        _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert {file: file.stat().st_mtime_ns for file in weights} == weights, "a finished trial was trained again"
