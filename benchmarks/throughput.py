"""Draws per second of whole `raysmooth certify` commands with different numbers of replicas, and the driver's memory.

    python benchmarks/throughput.py --replicas 1,2 --rounds 3 -- --dataset mnist --data-root DATA --skip 20 \
        --max 40 --classifier mnist_cnn --classifier-weights mnist_cnn.safetensors --sigma 0.5

Everything behind `--` goes to `raysmooth certify`. Commands of different replicas alternate; each writes into a folder
of its own and starts from nothing. Rates are over the time of drawing as the command itself reports it; start-up
(Python, Ray, replicas, weights, the first image) stands in a column of its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

COMMAND = [sys.executable, str(Path(__file__).resolve().parents[1] / "raysmooth.py"), "certify"]


def certify(arguments: list[str], replicas: int, out: Path) -> dict[str, float]:
    """Run one command to its end and read its own figures; the driver's memory is sampled from outside."""
    command = [*COMMAND, *arguments, "--replicas", str(replicas), "--out", str(out)]
    with tempfile.TemporaryFile("w+") as notes:
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=notes)
        peak = 0
        while process.poll() is None:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.05)
        notes.seek(0)
        said = notes.read()
    if process.returncode:
        sys.exit(said)
    first = re.search(r"first image finished ([\d.]+) s", said)
    drawing = re.search(r"drawing took ([\d.]+) s for ([\d,]+) images and ([\d,]+) draws", said)
    assert first is not None, said
    assert drawing is not None, said
    seconds, images, draws = (float(number.replace(",", "")) for number in drawing.groups())
    return {
        "replicas": replicas,
        "images": images,
        "draws": draws,
        "first image, s": float(first[1]),
        "drawing, s": seconds,
        "images/s": images / seconds,
        "draws/s": draws / seconds,
        "driver's peak, MiB": peak / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", default="1,2", help="numbers of replicas, such as 1,2")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, alternating")
    parser.add_argument("certify", nargs=argparse.REMAINDER, help="-- and the flags of raysmooth certify")
    given = parser.parse_args()
    arguments = given.certify[1:] if given.certify[:1] == ["--"] else given.certify
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.rounds):
            for replicas in map(int, given.replicas.split(",")):
                results.append(certify(arguments, replicas, Path(folder) / f"{turn}-{replicas}"))
                print(pd.Series(results[-1]).to_frame().T.to_string(index=False), file=sys.stderr)
    print(f"medians of {given.rounds}: raysmooth certify {' '.join(arguments)}")
    print(pd.DataFrame(results).groupby("replicas").median().to_markdown(floatfmt=".1f"))


if __name__ == "__main__":
    main()
