"""The lock of a run on this machine, and its lease in an object store: taken over from processes that are gone, never
from living ones.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from object_store import Server

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store import run_lock
from raysmooth.pipeline.store.run_lock import Lease, LocalLock, refuse_being_written
from raysmooth.storage.location import Location, located

HEARTBEAT = 0.2

HOLDER = f"""
import sys, time
from raysmooth.pipeline.store import run_lock
from raysmooth.storage.location import located
run_lock.LEASE_SECONDS, run_lock.SETTLE_SECONDS = {HEARTBEAT}, 0.1
lease = run_lock.lock_run(located(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
try:
    lease.verify()
    print("still held", flush=True)
except Exception as error:
    print(error, flush=True)
lease.close()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", HEARTBEAT)
    monkeypatch.setattr(run_lock, "SETTLE_SECONDS", 0.1)


@pytest.fixture
def home(server: Server) -> Location:
    return located(f"s3://results/{uuid.uuid4().hex}/runs/0123?endpoint_override={server.address}")


@pytest.fixture
def holder(home: Location) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    return process.communicate("\n", timeout=30)[0].strip()


def lease_of(home: Location) -> dict[str, Any]:
    return json.loads((home / ".lock").read_bytes())


def stranger(home: Location, **facts: object) -> None:
    """A lease of a process on another machine, which does not rewrite it."""
    content = {"id": "f" * 32, "writer": {"host": "elsewhere", "pid": 7}, "heartbeats": 3, **facts}
    (home / ".lock").write_atomic(json.dumps(content).encode())


def test_a_lease_is_rewritten_and_given_back(home: Location) -> None:
    lease = Lease(home)
    before = lease_of(home)
    deadline = time.monotonic() + 60
    while lease_of(home)["heartbeats"] == before["heartbeats"]:
        assert time.monotonic() < deadline
        time.sleep(HEARTBEAT)
    assert lease_of(home)["id"] == before["id"]
    lease.verify()
    lease.close()
    assert not (home / ".lock").exists()


def test_the_lease_of_a_living_process_is_refused(
    home: Location, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "PATIENCE_HEARTBEATS", 1000)  # however slow the holder is
    with pytest.raises(
        RaysmoothError, match=rf"run 0123 in s3://.* is being written by process {holder.pid} on .*: wait for"
    ):
        Lease(home)
    assert answer(holder) == "still held"
    Lease(home).close()


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(
    home: Location, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holder.kill()
    holder.wait()
    assert (home / ".lock").exists()
    monkeypatch.setattr(run_lock, "PATIENCE_HEARTBEATS", 10_000)
    Lease(home).close()
    assert "was being written by" not in capsys.readouterr().err


def test_a_lease_of_another_machine_that_does_not_change_is_taken_over_after_some_heartbeats(
    home: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger(home)
    began = time.monotonic()
    lease = Lease(home)
    assert time.monotonic() - began > 5 * HEARTBEAT  # never sooner, however fast the machine is
    assert "was being written by process 7 on elsewhere: waiting 1 s, to see if it still is" in capsys.readouterr().err
    assert lease_of(home)["writer"]["pid"] == os.getpid()
    lease.close()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"{half"])
def test_a_lease_that_cannot_be_read_is_taken_over_when_it_does_not_change(home: Location, content: bytes) -> None:
    (home / ".lock").write_atomic(content)
    Lease(home).close()


def test_a_lease_of_another_version_is_refused_while_it_changes(
    home: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "PATIENCE_HEARTBEATS", 1000)
    contents = itertools.cycle([b'{"beats": 1, "host": "far"}', b'{"beats": 2, "host": "far"}'])
    monkeypatch.setattr(Lease, "_content", lambda lease, patiently=True: next(contents))
    with pytest.raises(RaysmoothError, match="is being written by another process: wait for it"):
        Lease(home)


def test_a_writer_that_was_frozen_and_replaced_stops_and_leaves_the_lease(
    home: Location, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    lease = Lease(home)  # the holder is alive, but does not look so
    holder.send_signal(signal.SIGCONT)
    assert f"is being written by process {os.getpid()} on " in answer(holder)
    assert holder.wait() == 0
    time.sleep(2 * HEARTBEAT)
    lease.verify()
    lease.close()


def test_of_two_at_the_same_moment_one_holds_the_lease(home: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock.time, "sleep", lambda seconds: stranger(home))  # another process, a moment later
    with pytest.raises(RaysmoothError, match="is being written by process 7 on elsewhere"):
        Lease(home)


def test_a_removed_lease_stops_its_writer(home: Location) -> None:
    lease = Lease(home)
    (home / ".lock").unlink()
    with pytest.raises(RaysmoothError, match=r"\.lock.* is gone, another process may have written"):
        lease.verify()
    lease.close()


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    home, lock = located(tmp_path / "run"), tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    for make in (lambda: lock.symlink_to("../precious"), lambda: os.mkfifo(lock), lock.mkdir):
        make()
        refuse_being_written(home)
        with pytest.raises(RaysmoothError, match=r"/\.lock is no lock file \(.*\): remove it$"):
            LocalLock(home)
        lock.rmdir() if lock.is_dir() else lock.unlink()
    assert (tmp_path / "precious").read_text() == "mine"


def test_whether_a_run_is_being_written_is_known_without_locking_it(tmp_path: Path) -> None:
    folder = tmp_path / "out/runs/0123"
    home = located(folder)
    refuse_being_written(home)
    folder.mkdir(parents=True)
    refuse_being_written(home)
    assert list(folder.iterdir()) == []
    lock = LocalLock(home)
    with pytest.raises(RaysmoothError, match=rf"^run 0123 in .*/out is being written by process {os.getpid()} on "):
        refuse_being_written(home)
    lock.verify()
    lock.close()
    refuse_being_written(home)
    LocalLock(home).close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_whose_file_was_removed_stops_its_writer(tmp_path: Path, replaced: bool) -> None:
    first = LocalLock(located(tmp_path))
    (tmp_path / ".lock").unlink()
    second = LocalLock(located(tmp_path)) if replaced else None
    with pytest.raises(RaysmoothError, match=r"^stopped: .*/\.lock was removed while this process wrote the run"):
        first.verify()
    first.close()
    if second is not None:
        second.verify()
        second.close()


def test_a_file_that_is_removed_before_it_is_locked_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = iter([True, False])
    flock = run_lock.fcntl.flock

    def removed_first(file: Any, kind: int) -> None:
        if next(locked):
            (tmp_path / ".lock").unlink()
        flock(file, kind)

    monkeypatch.setattr(run_lock.fcntl, "flock", removed_first)
    lock = LocalLock(located(tmp_path))
    lock.verify()
    lock.close()
    assert next(locked, None) is None
