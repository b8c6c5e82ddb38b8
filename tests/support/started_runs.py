"""`raysmooth certify` in a process that a test can kill."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from conftest import REPOSITORY


def start(out: Path | str, environment: dict[str, str], *more: str, seconds: float = 0.05) -> subprocess.Popen[str]:
    """`raysmooth certify` of 60 digits in its own process and process group."""
    flags = "--dataset digits --max 60 --sigma 0.25 --n 500 --n0 40 --batch-size 100 --block-size 200 --replicas 2"
    classifier = ["--classifier", f"base_classifiers:Slow:seconds={seconds}"]
    command = [
        sys.executable,
        "-m",
        "raysmooth",
        "certify",
        *flags.split(),
        "--out",
        str(out),
        *classifier,
        *more,
    ]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores SIGINT, and so do the processes that it starts, such as these tests.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        cwd=REPOSITORY,
    )


def rows_on_disk(out: Path) -> int:
    return sum(len(pd.read_parquet(part)) for part in out.glob("certificates/*/part-*.parquet"))


def wait_for_rows(out: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while rows_on_disk(out) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
