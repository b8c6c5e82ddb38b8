"""Shared by all tests: one Ray for the whole session, and image files made to order."""

import gc
import io
import multiprocessing.process
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from object_store import Server, line, served  # noqa: F401 -- a fixture
from PIL import Image
from preloaded_workers import preloaded_workers

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("common", "storage", "actors", "pipeline", "tune", "experiments")
"""Folders that raysmooth/ links to."""

# All that collecting imports stays for good, so no garbage collection needs to go through it. The default thresholds
# would make collections a tenth of the suite's time.
gc.disable()
gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


# tests/support, importable here and in replicas.
SUPPORT = Path(__file__).parent / "support"
os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])

# Ray gives its workers a niceness of 15: beside other work of the same session they would hardly get to run.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 -- as Ray spells it

# A deprecated API used by our modules is an error, in replicas, trials and commands too.
_MODULES = [
    f"raysmooth.{'.'.join(path.relative_to(REPOSITORY).with_suffix('').parts)}".replace(
        "raysmooth.raysmooth", "raysmooth"
    )
    for room in (*ROOMS, "raysmooth/commands", "raysmooth/jobs")
    for path in (REPOSITORY / room).rglob("*.py")
]
os.environ["PYTHONWARNINGS"] = ",".join(f"error::DeprecationWarning:{module}" for module in _MODULES)

_LONGEST = (
    "test_submit.py", "test_killed.py", "test_sweep.py", "test_experiment_files.py", "test_replica_failures.py",
    "test_workers.py", "test_ray_session.py", "test_telemetry.py", "test_query_pool.py", "test_certify.py",
    "test_certify_to_s3.py", "test_sweep_search.py", "test_experiment.py", "test_estimate.py", "test_pool.py",
    "test_run_status.py", "test_packaging.py", "test_query_runs.py",
)  # fmt: skip
"""Started first: the longest modules must not be left for the end, when one worker has nothing else to do."""


FAKE_KEYS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_VISION_KEY", "BLACK_BOX_KEY", "CLARIFAI_PAT", "FAKE_API_KEY",
    "GOOGLE_API_KEY", "OPENAI_API_KEY",
)  # fmt: skip
"""What replicas of the tests' Ray ask fake APIs with; the key is their default. This process does not have it."""


_START_PROCESSES = {"ray_cluster", "one_pool", "kept_replicas", "server", "head"}
"""Fixtures that start Ray or another process; a test that uses one needs no mark of its own."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch  # here, like Ray below: the process that hands tests to the workers needs neither

    torch.set_num_threads(1)
    for item in items:
        if _START_PROCESSES & set(getattr(item, "fixturenames", ())):
            item.add_marker("processes")
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


settings.register_profile("untimed", deadline=None)  # a busy machine must not fail a test
settings.register_profile("inner-loop", deadline=None, max_examples=20)  # make check: fewer examples, same properties
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make check` leaves out marked tests; an unmarked test may start neither Ray nor a process."""
    if request.node.get_closest_marker("processes"):
        return
    import ray

    def refused(*given: Any, **_: Any) -> None:
        raise AssertionError(f"a test that is not marked `processes` starts one: {given}")

    start = subprocess.Popen.__init__

    def popen(process: Any, command: Any, *given: Any, **options: Any) -> None:
        if not (isinstance(command, list) and command[0] in ("git", "uname")):  # a manifest names commit and processor
            refused(command)
        start(process, command, *given, **options)

    monkeypatch.setattr(ray, "init", refused)
    monkeypatch.setattr(subprocess.Popen, "__init__", popen)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refused)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, which take half a second each."""
    monkeypatch.setattr("raysmooth.pipeline.report.report.FIGURES", {})


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[dict[str, str]]:
    """One real Ray for all tests. Yields the environment with which another process joins it."""
    import ray

    with preloaded_workers() as python:
        with pytest.MonkeyPatch.context() as patch:  # replicas have the environment in which Ray starts
            for variable in FAKE_KEYS:
                patch.setenv(variable, "fake-key")
            patch.setattr(sys, "executable", python)
            ray.init("local", num_cpus=4, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        yield from _joinable()


def _joinable() -> Iterator[dict[str, str]]:
    """The environment with which another process joins this process's Ray, which is shut down afterwards."""
    import ray

    for child in psutil.Process().children():  # it reads the logs of all replicas of all tests, for drivers that ask
        if "log_monitor.py" in " ".join(child.cmdline()):
            child.kill()
    address = ray.get_runtime_context().gcs_address
    yield {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token"}
    # Rarely, shutdown waits forever for an answer of Ray's head process; killing that process ends the wait.
    heads = [child for child in psutil.Process().children() if child.name().startswith("gcs_server")]
    hurry = threading.Timer(60, lambda: [head.kill() for head in heads])
    hurry.start()
    ray.shutdown()
    hurry.cancel()


@pytest.fixture(scope="module")
def one_pool(ray_cluster: dict[str, str]) -> Iterator[None]:
    """All that a module's tests certify is drawn on one pool of one replica, which starts once."""
    from raysmooth.pipeline.drawing import driver
    from raysmooth.pipeline.pool.pool import Pool

    kept: list[Pool] = []

    class KeptPool:
        def __init__(self, size: int, resources: Any, note: Any, **_: Any) -> None:
            if not kept:
                kept.append(Pool(1, resources, note))

        def __enter__(self) -> Pool:
            return kept[0]

        def __exit__(self, *_: Any) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "Pool", KeptPool)
        yield
    for pool in kept:
        pool.close()


@pytest.fixture(scope="module")
def kept_replicas(ray_cluster: dict[str, str]) -> Iterator[None]:
    """What a module's tests ask of APIs, they ask with the same replicas, which start once, and pause briefly."""
    from kept_replicas import KeptReplicas

    from raysmooth.pipeline.query_pool import query_pool

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_pool, "AskingReplicas", KeptReplicas)
        yield
    KeptReplicas.end()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An object store of the module's own. This process has its credentials in the environment, not its address."""
    with served() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL_S3")
        yield server


@pytest.fixture
def picture_file(tmp_path: Path) -> Callable[..., str]:
    """Writes a Parquet file of 8x8 grey images, one for each (brightness or bytes, label), and returns its path."""

    def write(pictures: Sequence[tuple[float | bytes, int | None]], name: str = "pictures.parquet") -> str:
        def encoded(content: float | bytes) -> bytes:
            if isinstance(content, bytes):
                return content
            buffer = io.BytesIO()
            Image.fromarray(np.full((8, 8), round(content * 255), np.uint8)).save(buffer, "PNG")
            return buffer.getvalue()

        rows = [
            {"image": {"bytes": encoded(content), "path": f"{number}.png"}, "label": label}
            for number, (content, label) in enumerate(pictures)
        ]
        schema = pa.schema(
            [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())]
        )
        pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that gets as far as starting Ray, or joining a cluster, fails the test."""

    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("raysmooth.pipeline.drawing.driver.connected", start)
