"""Overhead of the pool and the driver: replicas sleep a fixed time for each work unit instead of computing.

    python benchmarks/pool_overhead.py --data-root MNIST

Everything but the forward passes is real: images are read, units planned, handed out by Ray and counted, certificates
computed, Parquet written. `scaling` gives 1 to 64 replicas the same work each, `growth` gives 64 replicas more and more
images.
"""

import argparse
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import ray
from stub_replica import FastStubReplica, StubReplica

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.common.settings import checked
from raysmooth.pipeline.drawing.draw_all import draw_all
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.run_store import RunStore

REPLICAS = 64


def measure(kind: type[StubReplica], replicas: int, images: int, n: int, data_root: Path) -> dict[str, Any]:
    """One run of `images` with n draws each; the clock starts when all replicas are ready."""
    procedure = PROCEDURES["certify"]
    with tempfile.TemporaryDirectory() as out:
        values = {
            "dataset": "mnist", "data_root": str(data_root), "split": "train", "max": images, "n": n, "sigma": 0.5,
            "classifier": "stub_actor:Ten", "batch_size": 1000, "out": out,
        }  # fmt: skip
        (run,) = prepare(procedure, checked(procedure.settings, values))
        run = replace(run, compute=ComputeConfig("float32", False, 1000))
        process = psutil.Process()
        with Pool(replicas, ReplicaResources(1, 0.0), print, kind) as pool:
            identity = pool.wait_up()
            with RunStore(out, procedure.folder, procedure.schema, run.manifest(identity, {})) as store:
                ledger = Ledger(0, run, store)
                pool.prepare([], [])
                pool.wait_prepared(patience=300.0)
                memory, used, started = process.memory_info().rss, sum(process.cpu_times()[:2]), time.perf_counter()
                draw_all(pool, [ledger], Progress(show=False), started)
                seconds, used = time.perf_counter() - started, sum(process.cpu_times()[:2]) - used
                units = ledger.drawn / 1000
                return {
                    "replicas": replicas,
                    "s per unit": kind.seconds_per_unit,
                    "images": images,
                    "units": round(units),
                    "seconds": seconds,
                    "of ideal": units * kind.seconds_per_unit / replicas / seconds,
                    "driver CPU, ms per unit": 1000 * used / units,
                    "ms per image": 1000 * seconds / images,
                    "driver's memory before, MiB": memory / 2**20,
                    "after, MiB": process.memory_info().rss / 2**20,
                }


def scaling(data_root: Path, seconds: float = 20.0) -> pd.DataFrame:
    """Equal work for each of 1, 4, 16 and 64 replicas, and for 64 that are five times as fast."""
    rows = []
    for kind, replicas in [*((StubReplica, number) for number in (1, 4, 16, REPLICAS)), (FastStubReplica, REPLICAS)]:
        images = max(10, int(seconds * replicas / kind.seconds_per_unit / 10.1))
        rows.append(measure(kind, replicas, images, 10_000, data_root))
    return pd.DataFrame(rows)


def growth(data_root: Path) -> pd.DataFrame:
    """500, 5,000 and 50,000 images with n = 1,000."""
    return pd.DataFrame([measure(FastStubReplica, REPLICAS, images, 1000, data_root) for images in (500, 5000, 50_000)])


def begin() -> None:
    """Start a Ray that holds 64 replicas, however many cores there are."""
    ray.init(num_cpus=REPLICAS, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="MNIST as torchvision lays it out")
    given = parser.parse_args()
    begin()
    for table in (scaling(given.data_root), growth(given.data_root)):
        print(table.to_markdown(index=False, floatfmt=".3f"))


if __name__ == "__main__":
    main()
