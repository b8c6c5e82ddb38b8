"""A Ray head for one test module, with a token, and with its own temporary folder and ports."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

TOKEN = "a-token-of-the-tests-alone-0123456789"
PORTS = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
         "metrics-export-port", "node-manager-port", "object-manager-port", "ray-client-server-port")  # fmt: skip


@dataclass(frozen=True)
class Head:
    """Its dashboard's address, the environment of a user who may use it, and the process of `ray start`."""

    dashboard: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of a user without cluster or token; `python` is that of the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    return environment | {"HOME": str(home), "PATH": path, "RAY_USAGE_STATS_ENABLED": "0"}


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def own_head(cpus: int, drain_seconds: int = 30) -> Iterator[Head]:
    """A head that answers, and ends with the context. After SIGTERM it drains its node for at most `drain_seconds`."""
    home = Path(tempfile.mkdtemp(prefix="rs-"))  # short: Ray's sockets lie below it
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    environment = clean_environment(home) | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_TMPDIR": str(home),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain_seconds),
    }
    # The tests' classifiers travel with a job, or are absent.
    environment.pop("PYTHONPATH", None)
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--num-cpus={cpus}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={home}/ray"]
    command += ["--object-store-memory=100000000", "--disable-usage-stats"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    log = (home / "head.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    dashboard = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        _await(dashboard, process, home / "head.log")
        yield Head(dashboard, {**environment, "RAY_API_SERVER_ADDRESS": dashboard}, process)
    finally:
        _end(process)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


def _await(dashboard: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 200
    request = Request(f"{dashboard}/api/version", headers={"Authorization": f"Bearer {TOKEN}"})
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urlopen(request, timeout=30) as answer:
                assert "ray_version" in json.load(answer)
            return
        except (URLError, OSError):
            time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the head and all processes that it has started."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    _, left = psutil.wait_procs([psutil.Process(process.pid), *children] if process.poll() is None else children, 30)
    for one in left:
        one.kill()
    process.wait(30)
