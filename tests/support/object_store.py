"""A server of S3's protocol (moto) in a local process of its own, which can be frozen."""

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pandas as pd
import pytest
from pyarrow.fs import FileSelector, FileType, S3FileSystem

BUCKET = "results"


@dataclass(frozen=True)
class Server:
    """`environment` makes commands find it; it has one bucket, BUCKET."""

    process: subprocess.Popen[bytes]
    address: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.address,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def files(self) -> S3FileSystem:
        """The bucket as seen by another client, without our own code."""
        return S3FileSystem(
            access_key="tests", secret_key="tests", endpoint_override=self.address, allow_bucket_creation=True
        )

    def contents(self, folder: str = "") -> dict[str, bytes]:
        """The objects below a folder of the bucket, by name."""
        below = f"{BUCKET}/{folder}".rstrip("/")
        found = self.files.get_file_info(FileSelector(below, recursive=True, allow_not_found=True))
        names = [info.path for info in found if info.type == FileType.File]
        return {name.removeprefix(f"{BUCKET}/"): self.files.open_input_stream(name).read() for name in names}

    def put(self, name: str, content: bytes) -> None:
        with self.files.open_output_stream(f"{BUCKET}/{name}") as stream:
            stream.write(content)


@contextmanager
def served(**environment: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        server = Server(process, f"http://127.0.0.1:{port}")
        server.files.create_dir(BUCKET)
        yield server
    finally:
        process.kill()
        process.wait()


class Line:
    """A proxy to the server that can be cut: its connections are closed, and new ones refused."""

    def __init__(self, server: Server) -> None:
        self._to = int(server.address.rpartition(":")[2])
        self.port, self._cut = free_port(), True
        self._open: list[socket.socket] = []

    def connect(self) -> None:
        self._cut = False
        self._door = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._door,), daemon=True).start()

    def cut(self) -> None:
        self._cut = True
        for each in (self._door, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _serve(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = door.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while content := one.recv(65536):
                other.sendall(content)
            other.shutdown(socket.SHUT_WR)


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    """A line to the module's server; tests/conftest.py offers it to all tests."""
    line = Line(server)
    line.connect()
    yield line
    line.cut()


def rows_in(server: "Server", folder: str) -> pd.DataFrame:
    """The certificates below a folder of the bucket, by image."""
    parts = [content for name, content in server.contents(f"{folder}/certificates").items() if name.endswith("parquet")]
    rows = pd.concat([pd.read_parquet(io.BytesIO(part)) for part in parts]) if parts else pd.DataFrame()
    return rows.sort_values("image_id", ignore_index=True) if parts else rows


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
