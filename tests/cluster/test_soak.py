"""Twenty thousand work units while replicas die again and again: the driver's memory and open files do not grow."""

import json
import random
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from ray.cluster_utils import Cluster
from test_faults import Driver, all_nodes, replicas, rows_of, stored_twice

pytestmark = pytest.mark.processes

IMAGES, BLOCKS = 200, 100
IN_A_ROW = 4
"""Deaths before the driver has made further progress: on a slow machine no replica would live until it can draw."""

GROWTH = 32
"""MiB that an allocator may keep for itself. A row kept for each unit would take as much."""


def draws_of(out: Path) -> int:
    """What the driver's last heartbeat says."""
    (progress,) = out.glob("runs/*/progress.json")
    return int(json.loads(progress.read_text())["draws"])


@pytest.mark.timeout(1200)  # on a busy machine
def test_twenty_thousand_units_and_random_deaths(tmp_path: Path) -> None:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        driver = Driver(
            *(nodes.address, tmp_path, "--max", str(IMAGES), "--n", str(100 * BLOCKS), "--block-size", "100"),
            *("--classifier", "base_classifiers:Slow:seconds=0.002"),
        )
        process, chance = psutil.Process(driver.process.pid), random.Random(0)
        driver.wait_for_rows(IMAGES // 10)
        seen, killed, next_death = list[tuple[int, int]](), 0, time.monotonic()
        draws, in_a_row = 0, 0
        while driver.process.poll() is None:
            try:
                seen.append((process.memory_info().rss, process.num_fds()))
            except psutil.Error:
                break
            if (now_drawn := draws_of(tmp_path)) > draws:
                draws, in_a_row = now_drawn, 0
            if time.monotonic() > next_death and in_a_row < IN_A_ROW and (alive := replicas(*all_nodes(nodes))):
                chance.choice(alive).kill()
                killed, in_a_row = killed + 1, in_a_row + 1
                next_death = time.monotonic() + chance.uniform(2, 4)
            time.sleep(0.5)
        seconds = driver.end()
    finally:
        nodes.shutdown()
    rows = rows_of(tmp_path)
    assert len(rows) == IMAGES
    assert (rows["status"] == "ok").all()
    assert stored_twice(tmp_path) == 0
    counts = pd.concat(pd.read_parquet(part) for part in tmp_path.glob("runs/*/counts/part-*"))
    assert (counts["role"] == "estimation").sum() == IMAGES * BLOCKS == 20_000
    table = pd.DataFrame(seen, columns=["memory", "files"])
    early, late = table.iloc[len(table) // 4 : len(table) // 2], table.iloc[-len(table) // 4 :]
    memory = [part["memory"].median() / 2**20 for part in (early, late)]
    files = [part["files"].median() for part in (early, late)]
    print(
        f"\n20,000 units in {seconds:.0f} s, {killed} replicas killed; "
        f"memory {memory[0]:.0f} MiB, then {memory[1]:.0f}; "
        f"open files {files[0]:.0f}, then {files[1]:.0f}"
    )
    assert killed >= 3
    assert memory[1] - memory[0] < GROWTH
    assert files[1] - files[0] < 10
