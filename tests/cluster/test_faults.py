"""A cluster of several nodes on which nodes, replicas and drivers are really killed: the rows equal those of an
undisturbed run. The cost of each fault is printed; pytest -s shows it.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from conftest import REPOSITORY
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.processes

FAST_HEALTH_CHECKS = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
    "health_check_initial_delay_ms": 500,
    "health_check_timeout_ms": 500,
}
IMAGES = 100
"""Each has ten work units of 200 draws, of 0.1 s each."""

DIED = r"replica on \S+ died"


class Driver:
    """`raysmooth certify` in a process of its own; `lines` of its output, each with the seconds since it began."""

    def __init__(self, address: str, out: Path, *more: str) -> None:
        flags = f"--dataset digits --max {IMAGES} --sigma 0.25 --n 2000 --n0 40 --batch-size 100 --block-size 200"
        command = [
            *(sys.executable, "-m", "raysmooth", "certify", *flags.split(), "--compile", "off"),
            *("--classifier", "base_classifiers:Slow:seconds=0.05", "--out", str(out), "--address", address, *more),
        ]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        self.lines: list[tuple[float, str]] = []
        self.out = out
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append((time.monotonic() - self.began, line.rstrip()))

    @property
    def said(self) -> str:
        return "\n".join(f"{second:6.1f} {line}" for second, line in self.lines)

    def when(self, words: str, seconds: float = 120.0) -> float:
        """Wait until it prints `words` (a pattern), and return when it did."""

        def look() -> float | None:
            return next((at for at, line in self.lines if re.search(words, line)), None)

        return float(wait_for(look, seconds, self))

    def wait_for_rows(self, count: int) -> None:
        wait_for(lambda: rows_on_disk(self.out) >= count or None, 120.0, self)

    def end(self, seconds: float = 280.0) -> float:
        """Wait for its end, and return when it came."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        assert code == 0, self.said
        return time.monotonic() - self.began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


def wait_for(look: Callable[[], Any], seconds: float, driver: Driver) -> Any:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert driver.process.poll() is None, driver.said
        assert time.monotonic() < deadline, driver.said
        time.sleep(0.05)
    return found


def rows_on_disk(out: Path) -> int:
    return sum(len(pd.read_parquet(part)) for part in out.glob("certificates/*/part-*.parquet"))


def rows_of(out: Path) -> pd.DataFrame:
    rows = pd.read_parquet(out / "certificates").drop(columns="seconds")
    return rows.sort_values("image_id", ignore_index=True)


def stored_twice(out: Path) -> int:
    """Number of blocks of draws that are on disk more than once."""
    counts = pd.concat(pd.read_parquet(part) for part in out.glob("runs/*/counts/part-*"))
    return int(counts.duplicated(["image_id", "role", "block"]).sum())


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes of one core each."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": FAST_HEALTH_CHECKS})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, float]:
    """The rows, and how long they take."""
    out = tmp_path_factory.mktemp("undisturbed")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    try:
        seconds = Driver(nodes.address, out).end()
    finally:
        nodes.shutdown()
    rows = rows_of(out)
    assert len(rows) == IMAGES
    assert (rows["status"] == "ok").all()
    return rows, seconds


def check(name: str, driver: Driver, undisturbed: tuple[pd.DataFrame, float], seconds: float) -> None:
    """Equal, row for row; nothing stored twice. Prints how long it took."""
    pd.testing.assert_frame_equal(rows_of(driver.out), undisturbed[0])
    assert stored_twice(driver.out) == 0
    twice = re.findall(r"(\d+) work units were drawn twice", driver.said)
    print(f"\n{name}: {seconds:.1f} s, undisturbed {undisturbed[1]:.1f} s; units drawn twice: {twice or 0}")


def raylet(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def replicas(*nodes: Any) -> list[psutil.Process]:
    """The replicas' processes on these nodes."""
    found = [process for node in nodes for process in raylet(node).children(recursive=True)]
    return [process for process in found if is_replica(process)]


def is_replica(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0].startswith("ray::Replica")
    except (psutil.Error, IndexError):
        return False


def all_nodes(cluster: Cluster) -> list[Any]:
    return [cluster.head_node, *cluster.worker_nodes]


def test_a_node_that_joins_is_used(tmp_path: Path, undisturbed: tuple[pd.DataFrame, float]) -> None:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        driver = Driver(nodes.address, tmp_path)
        driver.wait_for_rows(3)
        joined = time.monotonic() - driver.began
        nodes.add_node(num_cpus=1)
        used = driver.when("2 replicas now") - joined
        seconds = driver.end()
    finally:
        nodes.shutdown()
    print(f"\na node that joined drew after {used:.1f} s")
    check("a node joins", driver, undisturbed, seconds)


def test_a_node_is_killed(cluster: Cluster, tmp_path: Path, undisturbed: tuple[pd.DataFrame, float]) -> None:
    driver = Driver(cluster.address, tmp_path)
    driver.wait_for_rows(10)
    killed = time.monotonic() - driver.began
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    noticed = driver.when(f"{DIED}, by a cause from outside") - killed
    seconds = driver.end()
    print(f"\nthe death of a node was noticed after {noticed:.1f} s")
    check("a node is killed", driver, undisturbed, seconds)


def test_replicas_are_killed_every_three_seconds(
    cluster: Cluster, tmp_path: Path, undisturbed: tuple[pd.DataFrame, float]
) -> None:
    driver, chance, killed = Driver(cluster.address, tmp_path), random.Random(0), 0
    driver.wait_for_rows(3)
    while killed < 12 and driver.process.poll() is None:
        if alive := replicas(*all_nodes(cluster)):
            chance.choice(alive).kill()
            killed += 1
        time.sleep(3)
    seconds = driver.end()
    assert killed >= 5
    check(f"{killed} replicas are killed", driver, undisturbed, seconds)


def test_the_driver_is_killed_twice(cluster: Cluster, tmp_path: Path, undisturbed: tuple[pd.DataFrame, float]) -> None:
    began = time.monotonic()
    for rows in (10, 40):
        driver = Driver(cluster.address, tmp_path)
        driver.wait_for_rows(rows)
        driver.kill()
    driver = Driver(cluster.address, tmp_path)
    driver.end()
    check("the driver is killed twice", driver, undisturbed, time.monotonic() - began)


def test_a_replica_is_stuck(cluster: Cluster, tmp_path: Path, undisturbed: tuple[pd.DataFrame, float]) -> None:
    driver = Driver(cluster.address, tmp_path)
    driver.wait_for_rows(10)
    stuck = replicas(*all_nodes(cluster))[0]
    stuck.suspend()
    stopped = time.monotonic() - driver.began
    try:
        noticed = driver.when("has not answered for") - stopped
        seconds = driver.end()
    finally:
        if stuck.is_running():
            os.kill(stuck.pid, signal.SIGCONT)
    print(f"\na stuck replica was noticed after {noticed:.1f} s")
    check("a replica is stuck", driver, undisturbed, seconds)


def test_a_node_is_drained(cluster: Cluster, tmp_path: Path, undisturbed: tuple[pd.DataFrame, float]) -> None:
    """As before a spot instance is taken: after the notice, nothing is drawn twice."""
    driver = Driver(cluster.address, tmp_path)
    driver.wait_for_rows(10)
    node = next(iter(cluster.worker_nodes))
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ray")), "drain-node", "--address", cluster.address),
            *("--node-id", node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"),
            *("--deadline-remaining-seconds", "600"),
        ],
        check=True,
        capture_output=True,
    )
    driver.when("is about to be removed")
    wait_for(lambda: None if replicas(node) else True, 120.0, driver)
    seconds = driver.end()
    assert not re.search(DIED, driver.said)
    check("a node is drained", driver, undisturbed, seconds)
