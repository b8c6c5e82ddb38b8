"""Seconds until the commands of the README print their first word, and until they end, and their processor time, which
other load on the machine changes less (that of Ray and its replicas is not included).

Certifies and trains on digits in a folder of its own. Give `--python PATH` for another installation, to compare two.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

RUN = (
    "certify --dataset digits --classifier digits_cnn --classifier-weights demo/weights/classifier.safetensors "
    "--sigma 0.25 --max 20 --n 1000 --out results"
)
COMMANDS = (
    "--version", "--help", "certify --help", "train denoiser --help", "list", "list recipes", "list classifiers",
    "certify --dataset nope --classifier digits_cnn --sigma 0.25", "certify --dataset digits --sigma x",
    "demo --out demo", f"{RUN} --dry-run", RUN, RUN, "report results", "show results 10", "status results",
    "train denoiser --dataset digits --denoiser dncnn:depth=3,channels=1 --objective mse --sigma 0.25 --epochs 1 "
    "--out mse.safetensors",
)  # fmt: skip
"""In this order: each finds what those before it have made. The second RUN finds the first finished."""


def timed(command: list[str], folder: Path) -> tuple[float, float, float, int]:
    """Seconds to the first byte on standard output or error, seconds in all, processor seconds, and the exit code."""
    began, used = time.perf_counter(), _processor_seconds()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        first = time.perf_counter() - began
        process.stdout.read()
    return first, time.perf_counter() - began, _processor_seconds() - used, process.returncode


def _processor_seconds() -> float:
    """Of all processes that this one has waited for, and of those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the Python that has raysmooth")
    parser.add_argument("--smoke", action="store_true", help="the demo with its smallest networks")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    table = Table("first word (s)", "whole (s)", "processor (s)", "exit", "raysmooth ...", box=None)
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            if command.startswith("demo") and arguments.smoke:
                command += " --smoke"
            first, whole, used, code = timed([arguments.python, "-m", "raysmooth", *command.split()], Path(folder))
            table.add_row(f"{first:.2f}", f"{whole:.2f}", f"{used:.2f}", str(code), command)
    Console(width=160).print(table)
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
