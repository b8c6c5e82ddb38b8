"""One `raysmooth certify` command observed from outside, and the time until its first certificate."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd
from networks import Subject

from raysmooth.actors.compute.compute_config import ComputeConfig

COMMAND = [sys.executable, "-m", "raysmooth", "certify"]
ALLOWED = 12.0
"""Seconds from the command to the first certificate."""

_NUMBER = r"([\d.,]+)"
_READY = re.compile(
    rf"ready after {_NUMBER} s: settings and Ray {_NUMBER} s, "
    rf"tuning precision and batch size {_NUMBER} s, loading and compiling {_NUMBER} s"
)
_FIRST = re.compile(rf"first image finished {_NUMBER} s after the start")
_DRAWING = re.compile(rf"drawing took {_NUMBER} s for {_NUMBER} images and {_NUMBER} draws")

_PREPARE = """
import json, sys, time
import raysmooth
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.common.settings import checked
settings = checked(PROCEDURES["certify"].settings, json.loads(sys.argv[1]))
began = time.perf_counter()
prepare(PROCEDURES["certify"], settings)
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Watched:
    """A command that has ended. `first` and `whole` are seconds on our clock since its start; `ready` (total, settings
    and Ray, choosing, loading and compiling), `noted_first` and `drawing` (seconds, images, draws) come from its notes,
    `compute` from its manifest.
    """

    first: float
    whole: float
    ready: list[float]
    noted_first: float
    drawing: list[float] | None
    compute: ComputeConfig

    @property
    def draws_per_second(self) -> float:
        assert self.drawing is not None
        return self.drawing[2] / self.drawing[0]


def watch(arguments: Sequence[str], until_first: bool = False, cache: Path | None = None) -> Watched:
    """Run `raysmooth certify` with `arguments` on a Ray of its own, into a new folder; `until_first` interrupts it
    after the first certificate. `cache` replaces the user's folder of compiled code.
    """
    environment = dict(os.environ)
    if cache is not None:
        environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
        environment["XDG_CACHE_HOME"] = str(cache)
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--address", "local", "--out", folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        notes, first = "", 0.0
        assert process.stderr is not None
        for line in process.stderr:
            notes += line
            if not first and _FIRST.search(line):
                first = perf_counter() - began
                if until_first:
                    process.send_signal(signal.SIGINT)
        code = process.wait()
        whole = perf_counter() - began
        ready, noted, drawing = (_numbers(pattern, notes) for pattern in (_READY, _FIRST, _DRAWING))
        if ready is None or noted is None or (code and not until_first) or (drawing is None and not until_first):
            sys.exit(f"raysmooth certify {' '.join(arguments)} ended with code {code}:\n{notes}")
        manifest = json.loads(next(Path(folder).glob("runs/*/manifest.json")).read_text())["identity"]
        compute = ComputeConfig(**{name: manifest[name] for name in ComputeConfig.__dataclass_fields__})
    return Watched(first, whole, ready, noted[0], drawing, compute)


def startup(subject: Subject, replicas: int, runs: int) -> pd.DataFrame:
    """Seconds from the command to the first of 20 certificates with n = 10,000, medians of `runs` new commands: with
    default flags, compiled for the first time, and compiled before.
    """
    flags = [*subject.flags, "--max", "20", "--n", "10000", "--replicas", str(replicas)]
    settings = {name[2:].replace("-", "_"): text for name, text in zip(flags[::2], flags[1::2], strict=True)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        caches = [Path(folder, str(number)) for number in range(runs)]
        compiled = [*flags, "--compile", "on"]
        asked = {
            "auto": [(flags, None)] * runs,
            "--compile on, for the first time": [(compiled, cache) for cache in caches],
            "--compile on, compiled before": [(compiled, cache) for cache in caches],
        }
        preparing = median(_preparing(settings) for _ in range(runs))
        for name, commands in asked.items():
            seen = [watch(arguments, until_first=True, cache=cache) for arguments, cache in commands]
            rows.append(_row(name, seen, preparing))
    return pd.DataFrame(rows)


def _row(name: str, seen: list[Watched], preparing: float) -> dict[str, str]:
    """Medians of each part. The notes leave out the start of Python, imports and the reading of flags."""
    parts = {
        "Python, imports": median(run.first - run.noted_first for run in seen),
        "settings, data, weights": preparing,
        "Ray, replicas": median(run.ready[1] for run in seen) - preparing,
        "choosing": median(run.ready[2] for run in seen),
        "loading, compiling": median(run.ready[3] for run in seen),
        "first image": median(run.noted_first - run.ready[0] for run in seen),
    }
    whole = median(run.first for run in seen)
    judged = {"at most": f"{ALLOWED:g}", "met": "yes" if whole <= ALLOWED else "NO"} if name == "auto" else {}
    return {
        "command": name,
        "computed in": ", ".join(sorted({describe(run.compute) for run in seen})),
        **{part: f"{seconds:.1f}" for part, seconds in parts.items()},
        "first certificate, s": f"{whole:.1f}",
        "at most": judged.get("at most", ""),
        "met": judged.get("met", ""),
    }


def describe(compute: ComputeConfig) -> str:
    return f"{compute.precision}, {'compiled' if compute.compiled else 'eager'}, batch {compute.batch_size}"


def _preparing(settings: dict[str, str]) -> float:
    """Seconds that a new process takes to check the settings, open the data and load the weights, as the driver does
    before it starts Ray.
    """
    asked = subprocess.run(
        [sys.executable, "-c", _PREPARE, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    return float(asked.stdout.splitlines()[-1])


def _numbers(pattern: re.Pattern[str], notes: str) -> list[float] | None:
    found = pattern.search(notes)
    return [float(number.replace(",", "")) for number in found.groups()] if found else None
