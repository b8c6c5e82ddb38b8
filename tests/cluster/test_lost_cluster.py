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
    command = [sys.executable, "-m", "raysmooth", "certify", *CERTIFY.split(), "--out", str(out), *more]
    return subprocess.Popen(
        [*command, "--classifier", "base_classifiers:Slow:seconds=0.1"],
        cwd=SUPPORT,  # where the workers find the classifier too
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


@pytest.mark.parametrize("end", [kill_gcs, stop_all])
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
