"""Whether a writer is gone: known of processes of this machine that have really ended, of others never."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from raysmooth.pipeline.store.writer_process import WriterProcess

pytestmark = pytest.mark.processes


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_this_process_is_not_gone() -> None:
    here = WriterProcess.here()
    assert (here.pid, here.host) == (os.getpid(), os.uname().nodename)
    assert not here.is_gone
    assert WriterProcess(**asdict(here)) == here
    assert str(here) == f"process {here.pid} on {here.host}"


def test_a_process_that_has_ended_is_gone(process: subprocess.Popen[bytes]) -> None:
    writer = WriterProcess.with_pid(process.pid)
    assert not writer.is_gone
    process.kill()
    process.wait()
    assert writer.is_gone


def test_so_is_one_whose_parent_has_not_noticed(process: subprocess.Popen[bytes]) -> None:
    writer = WriterProcess.with_pid(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert writer.is_gone


def test_a_later_process_with_the_same_pid_is_another(process: subprocess.Popen[bytes]) -> None:
    writer = WriterProcess.with_pid(process.pid)
    assert writer.started is not None
    assert replace(writer, started=writer.started - 1).is_gone
    assert not replace(writer, started=None).is_gone


@pytest.mark.parametrize(
    "elsewhere", [{"host": "far"}, {"boot": "before"}, {"space": "pid:[1]"}, {"boot": ""}, {"space": ""}], ids=str
)
def test_unknown_is_not_gone(process: subprocess.Popen[bytes], elsewhere: dict[str, str]) -> None:
    writer = replace(WriterProcess.with_pid(process.pid), **elsewhere)
    process.kill()
    process.wait()
    assert not writer.is_gone


def test_a_process_of_another_user_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    here = WriterProcess.here()

    def refused(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not here.is_gone
