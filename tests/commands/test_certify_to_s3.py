"""`raysmooth certify --out s3://...`: the same rows as in a folder, through kills and lost connections."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from object_store import Line, Server, rows_in, served
from preloaded import PreloadedCommand
from started_runs import start

BUSY = 0.1
"""Seconds of a batch: long enough for a run of several flushes."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without which replicas pause before a run is finished, however slow this machine is."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, ray_cluster: dict[str, str], gate: Path) -> pd.DataFrame:
    """The rows of the same run in a folder."""
    out = tmp_path_factory.mktemp("undisturbed")
    gate.touch()
    process = start(out, ray_cluster, seconds=BUSY, gate=gate)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    rows = pd.read_parquet(out / "certificates").sort_values("image_id", ignore_index=True)
    return rows.drop(columns=["seconds", "run_id"])


def certify(
    server: Server, folder: str, ray_cluster: dict[str, str], gate: Path, port: int | None = None
) -> PreloadedCommand:
    """A run into a folder of the bucket, through another port than the server's if one is given."""
    endpoint = {} if port is None else {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}
    environment = {**ray_cluster, **server.environment, **endpoint}
    return start(f"s3://results/{folder}", environment, seconds=BUSY, gate=gate)


def wait_for_rows(server: Server, folder: str, process: PreloadedCommand) -> int:
    deadline = time.monotonic() + 120
    while not (found := len(rows_in(server, folder))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def check(server: Server, folder: str, undisturbed: pd.DataFrame) -> None:
    """The rows are those of the undisturbed run, and the run is not locked."""
    rows = rows_in(server, folder).drop(columns="seconds")
    pd.testing.assert_frame_equal(rows[undisturbed.columns], undisturbed)
    assert not [name for name in server.contents(folder) if name.endswith(".lock")]


def test_sigkill_then_the_same_command(
    server: Server, ray_cluster: dict[str, str], undisturbed: pd.DataFrame, gate: Path
) -> None:
    gate.unlink()
    process = certify(server, "killed", ray_cluster, gate)
    finished = wait_for_rows(server, "killed", process)
    process.kill()
    process.wait()
    before = server.contents("killed")
    assert 0 < finished < 60
    gate.touch()
    again = certify(server, "killed", ray_cluster, gate)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    check(server, "killed", undisturbed)
    after = server.contents("killed")
    assert all(after[name] == content for name, content in before.items() if name.endswith(".parquet"))


def test_a_frozen_server_and_a_lost_connection(
    server: Server, ray_cluster: dict[str, str], undisturbed: pd.DataFrame, gate: Path
) -> None:
    gate.unlink(missing_ok=True)
    line = Line(server)
    line.connect()
    process = certify(server, "away", ray_cluster, gate, line.port)
    wait_for_rows(server, "away", process)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    server.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    line.cut()
    lost, deadline = "cannot reach s3://results (NETWORK_CONNECTION", time.monotonic() + 200
    while lost not in process.errors:  # the run is paused, and rewrites its lock
        assert process.poll() is None, process.errors
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "trying again for 5 minutes" in process.errors
    gate.touch()
    line.connect()
    assert process.wait(200) == 0, process.errors
    assert "Traceback" not in process.errors
    check(server, "away", undisturbed)
    line.cut()


def test_wrong_credentials_are_refused_before_any_work(ray_cluster: dict[str, str], gate: Path) -> None:
    with served(INITIAL_NO_AUTH_ACTION_COUNT="2") as server:
        process = certify(server, "denied", ray_cluster, gate)
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    (line,) = errors.splitlines()
    assert line.startswith("raysmooth: --out s3://results: no access (INVALID_ACCESS_KEY_ID: ")
    assert line.endswith("of ~/.aws (AWS_PROFILE), or the machine's role")
