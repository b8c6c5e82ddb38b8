"""`raysmooth certify --out s3://...`: the same rows as in a folder, whatever happens on the way."""

import signal
import subprocess
import time
from collections.abc import Iterator

import pandas as pd
import pytest
from object_store import Line, Server, rows_in, served
from started_runs import start

BUSY = 0.1
"""Seconds of a batch: long enough for a run of some flushes."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, ray_cluster: dict[str, str]) -> pd.DataFrame:
    """The rows of the same run in a folder."""
    out = tmp_path_factory.mktemp("undisturbed")
    process = start(out, ray_cluster, seconds=BUSY)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    rows = pd.read_parquet(out / "certificates").sort_values("image_id", ignore_index=True)
    return rows.drop(columns=["seconds", "run_id"])


def certify(server: Server, folder: str, ray_cluster: dict[str, str], port: int | None = None) -> subprocess.Popen[str]:
    """A run into a folder of the bucket; by way of another port than the server's own, if one is given."""
    way = {} if port is None else {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}
    return start(f"s3://results/{folder}", {**ray_cluster, **server.environment, **way}, seconds=BUSY)


def wait_for_rows(server: Server, folder: str, process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 120
    while not (found := len(rows_in(server, folder))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def check(server: Server, folder: str, process: subprocess.Popen[str], undisturbed: pd.DataFrame) -> str:
    """The run ends well, with the rows that it should have; what it said."""
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    rows = rows_in(server, folder).drop(columns="seconds")
    pd.testing.assert_frame_equal(rows[undisturbed.columns], undisturbed)
    assert not [name for name in server.contents(folder) if name.endswith(".lock")]
    return errors


def test_sigkill_then_the_same_command(server: Server, ray_cluster: dict[str, str], undisturbed: pd.DataFrame) -> None:
    process = certify(server, "killed", ray_cluster)
    finished = wait_for_rows(server, "killed", process)
    process.kill()
    process.wait()
    before = server.contents("killed")
    assert 0 < finished < 60
    check(server, "killed", certify(server, "killed", ray_cluster), undisturbed)
    after = server.contents("killed")
    assert all(after[name] == content for name, content in before.items() if name.endswith(".parquet"))


def test_a_frozen_server_and_a_lost_connection(
    server: Server, ray_cluster: dict[str, str], undisturbed: pd.DataFrame
) -> None:
    line = Line(server)
    line.connect()
    process = certify(server, "away", ray_cluster, line.port)
    wait_for_rows(server, "away", process)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    server.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    assert process.poll() is None
    line.cut()
    time.sleep(5)
    line.connect()
    errors = check(server, "away", process, undisturbed)
    line.cut()
    assert errors.count("cannot reach s3://results (NETWORK_CONNECTION") == 1
    assert "trying again for 5 minutes" in errors
    assert "Traceback" not in errors


def test_wrong_credentials_are_refused_before_any_work(ray_cluster: dict[str, str]) -> None:
    with served(INITIAL_NO_AUTH_ACTION_COUNT="2") as server:
        process = certify(server, "denied", ray_cluster)
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    (line,) = errors.splitlines()
    assert line.startswith("raysmooth: --out s3://results: no access (INVALID_ACCESS_KEY_ID: ")
    assert line.endswith("of ~/.aws (AWS_PROFILE), or the machine's role")
