"""Time and memory of `raysmooth report`, for many rows and for many runs.

    python benchmarks/report_speed.py [--rounds 3] [--folder FOLDER]

Writes certificates in the format of `certify` (of a simulated classifier, without draws), then runs the command and
measures it from outside: wall-clock time, and peak resident memory as counted by the system. Exits with 1 if a case
exceeds its limit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path
from statistics import median
from time import perf_counter

COMMAND = [sys.executable, "-m", "raysmooth", "report"]


@dataclass(frozen=True)
class Case:
    """`files` is the number per run; `seconds` and `gigabytes` (10^9) are the limits of the command."""

    runs: int
    images: int
    files: int
    classes: int
    seconds: float
    gigabytes: float

    def __str__(self) -> str:
        return f"{self.runs * self.images:,} rows, {self.runs} runs, {self.runs * self.files} files"


CASES = [
    Case(runs=20, images=50_000, files=10, classes=1000, seconds=10, gigabytes=2),
    Case(runs=50, images=500, files=4, classes=10, seconds=2, gigabytes=2),
]
SIGMAS = (0.12, 0.25, 0.5, 1.0)
N0, N, ALPHA = 100, 10_000, 0.001


def write_results(out: Path, case: Case) -> None:
    """Write certificates and manifests of `case` to `out`; class probabilities decrease with sigma."""
    # Imported here, as the command starts as a copy of this process and its memory counts as the command's.
    import numpy as np
    import pyarrow as pa
    from scipy.special import betaincinv, ndtri

    from raysmooth.pipeline.runs.procedures import PROCEDURES
    from raysmooth.pipeline.store.manifest import CERTIFICATES
    from raysmooth.pipeline.store.manifest import run_id as run_id_of
    from raysmooth.pipeline.store.parts import write_part
    from raysmooth.storage.location import located

    schema, rng = PROCEDURES["certify"].schema, np.random.default_rng(0)
    for run in range(case.runs):
        sigma, kind = SIGMAS[run % len(SIGMAS)], run // len(SIGMAS)
        facts = {
            "dataset": "simulated",
            "split": "test",
            "index_set": f"all {case.images}",
            "classifier": "none_at_all",
            "denoiser": f"dncnn:depth={17 + kind // 3}",
            "objective": ("mse", "stab", "stab+mse")[kind % 3],
            "noise": "gaussian",
            "norm": "l2",
            "sigma": sigma,
            "sampling": "fixed",
            "n0": N0,
            "n": N,
            "alpha": ALPHA,
            "images": case.images,
            "n_used": N,
            "draws": N0 + N,
            "status": "ok",
        }
        decided = ("n_used", "draws", "status", "objective")
        identity = {name: value for name, value in facts.items() if name not in decided}
        identity |= {"scheme": 5, "procedure": "certify", "seed": run, "block_size": 1000, "threads": 1}
        identity |= {"device": "none", "data_fingerprint": "none", "preprocess": "none"}
        run_id = run_id_of(identity)
        count = rng.binomial(N, rng.beta(4, 1 + 3 * sigma, case.images))
        p_lower = betaincinv(np.maximum(count, 1), N - np.maximum(count, 1) + 1, ALPHA)
        abstain = p_lower <= 0.5
        label = rng.integers(0, case.classes, case.images)
        right = rng.random(case.images) < 0.9
        rows = {
            "image_id": np.arange(case.images),
            "label": label,
            "prediction": np.where(abstain, -1, np.where(right, label, (label + 1) % case.classes)),
            "abstain": abstain,
            "correct": right & ~abstain,
            "radius": np.where(abstain, 0.0, sigma * ndtri(np.maximum(p_lower, 0.5))),
            "p_lower": p_lower,
            "count_top": count,
            "seconds": rng.uniform(0.1, 0.2, case.images),
        }
        columns = {}
        for field in schema:
            column = rows[field.name] if field.name in rows else [facts.get(field.name)] * case.images
            columns[field.name] = pa.array(column, field.type)
        folder = out / CERTIFICATES / f"run_id={run_id}"
        folder.mkdir(parents=True)
        step = -(-case.images // case.files)
        for part in range(case.files):
            origin = {"run_id": run_id, "kind": CERTIFICATES}
            file = located(folder / f"part-{part:05d}.parquet")
            write_part(file, pa.table(columns, schema).slice(part * step, step), origin)
        manifest = out / "runs" / run_id / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"run_id": run_id, "identity": identity, "versions": {"raysmooth": "0.1.0"}}))


def watched(arguments: list[str]) -> tuple[float, float, float]:
    """Wall-clock seconds, processor seconds and peak memory in bytes of a command."""
    began = perf_counter()
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the command ended with {process.returncode}: {' '.join(arguments)}")
    return perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the certificates here, and reuse them")
    arguments = parser.parse_args()
    slow = False
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            out = (arguments.folder or Path(temporary)) / f"{case.runs}-runs"
            if not out.exists():
                writing = Process(target=write_results, args=(out, case))
                writing.start()
                writing.join()
            rounds = [watched([str(out)]) for _ in range(arguments.rounds)]
            seconds, processor, memory = (median(values) for values in zip(*rounds, strict=True))
            print(
                f"{case}: {seconds:.2f} s (at most {case.seconds:g}; {processor:.2f} s of the processor), "
                f"{memory / 1e9:.2f} GB (at most {case.gigabytes:g}); median of {arguments.rounds}"
            )
            slow |= seconds > case.seconds or memory > case.gigabytes * 1e9
    sys.exit(int(slow))


if __name__ == "__main__":
    main()
