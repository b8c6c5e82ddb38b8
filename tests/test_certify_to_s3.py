"""`raysmooth certify --out s3://...`: the same rows as in a folder, whatever happens on the way."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from object_store import Line, Server, rows_in, served
from test_killed import start

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


def test_a_server_frozen_for_five_seconds(
    server: Server, ray_cluster: dict[str, str], undisturbed: pd.DataFrame
) -> None:
    process = certify(server, "frozen", ray_cluster)
    wait_for_rows(server, "frozen", process)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    server.process.send_signal(signal.SIGCONT)
    check(server, "frozen", process, undisturbed)


def test_a_connection_that_is_lost_for_a_while(
    server: Server, ray_cluster: dict[str, str], undisturbed: pd.DataFrame
) -> None:
    line = Line(server)
    line.connect()
    process = certify(server, "lost", ray_cluster, line.port)
    wait_for_rows(server, "lost", process)
    line.cut()
    time.sleep(8)
    line.connect()
    errors = check(server, "lost", process, undisturbed)
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    small_disk: Path, ray_cluster: dict[str, str], undisturbed: pd.DataFrame
) -> None:
    process = start(small_disk / "out", ray_cluster, seconds=BUSY)
    deadline = time.monotonic() + 120
    while not (parts := list(small_disk.glob("out/certificates/*/part-*.parquet"))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(10**6))  # as much of it as there is room for
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"raysmooth: stopped: no space is left for {small_disk}/out/")
    assert last.endswith("make some; what was finished is there, and the same command goes on from it")
    left = {file.name for file in small_disk.rglob("*") if file.is_file()}
    assert left >= {part.name for part in parts}
    assert not [name for name in left if name.endswith(".tmp")]
    assert 0 < len(pd.read_parquet(small_disk / "out" / "certificates")) < 60
    again = start(small_disk / "out", ray_cluster, seconds=BUSY)
    _, errors = again.communicate(timeout=100)
    assert again.returncode == 2, errors
    assert errors.splitlines()[-1].startswith(f"raysmooth: --out {small_disk}/out: No space left on device")
    (small_disk / "filler").unlink()
    last_one = start(small_disk / "out", ray_cluster, seconds=BUSY)
    _, errors = last_one.communicate(timeout=200)
    assert last_one.returncode == 0, errors
    rows = pd.read_parquet(small_disk / "out" / "certificates").sort_values("image_id", ignore_index=True)
    pd.testing.assert_frame_equal(rows[undisturbed.columns], undisturbed)
