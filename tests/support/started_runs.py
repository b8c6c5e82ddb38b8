"""`raysmooth certify` in a process that a test can kill."""

import time
from math import ceil
from pathlib import Path
from subprocess import Popen

import pandas as pd
from conftest import REPOSITORY
from preloaded import PreloadedCommand

FIRST_FLUSH = 5.6
"""Seconds of sampling after which the first rows are on disk."""


def start(
    out: Path | str, environment: dict[str, str], *more: str, seconds: float = 0.05, gate: Path | None = None
) -> PreloadedCommand:
    """The command of `arguments` in a process, and process group, of its own."""
    return PreloadedCommand(arguments(out, *more, seconds=seconds, gate=gate), environment, REPOSITORY)


def arguments(out: Path | str, *more: str, seconds: float = 0.05, gate: Path | None = None) -> list[str]:
    """`certify` of 60 digits; a batch takes `seconds`. With a `gate`, replicas pause once the first rows are on disk,
    until that file exists.
    """
    flags = "--dataset digits --max 60 --sigma 0.25 --n 500 --n0 40 --batch-size 100 --block-size 200 --replicas 2"
    classifier = f"base_classifiers:Slow:seconds={seconds}"
    if gate is not None:
        classifier = f"base_classifiers:Gated:seconds={seconds},passes={ceil(FIRST_FLUSH / seconds)},gate={gate}"
    return ["certify", *flags.split(), "--out", str(out), "--classifier", classifier, *more]


def rows_on_disk(out: Path) -> int:
    return sum(len(pd.read_parquet(part)) for part in out.glob("certificates/*/part-*.parquet"))


def wait_for_rows(out: Path, process: PreloadedCommand | Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while rows_on_disk(out) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
