"""Which cluster is joined, and how soon one that does not answer is given up."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.ray_cluster import ray_address
from raysmooth.pipeline.ray_cluster.ray_address import cluster_to_join, refuse_silence, will_be_local


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a cluster, on which Ray has not been started."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests of this process may have started one
    (tmp_path / "ray").mkdir()


@pytest.fixture
def note_file(tmp_path: Path) -> Path:
    """In which `ray start` notes the cluster that the machine is in."""
    return tmp_path / "ray/ray_current_cluster"


@pytest.fixture
def head() -> Iterator[str]:
    """The address of a server that answers as a cluster's head does which wants a token."""

    def refuse(_: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

    server = grpc.server(ThreadPoolExecutor(1))
    method = grpc.unary_unary_rpc_method_handler(refuse)
    service = grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"GetClusterId": method})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a listener that never answers."""
    monkeypatch.setattr(ray_address, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def joined(address: str | None) -> tuple[str | None, list[str]]:
    notes: list[str] = []
    return cluster_to_join(address, notes.append), notes


def test_nothing_is_joined_where_there_is_nothing() -> None:
    assert joined(None) == joined("local") == (None, [])
    with pytest.raises(RaysmoothError, match=r"^--address auto: this machine is not in a Ray cluster: "):
        joined("auto")


def test_a_cluster_that_is_named_is_joined_without_a_word(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert joined(head) == (head, [])
    monkeypatch.setenv("RAY_ADDRESS", head)
    assert joined(None) == (head, [])
    assert joined("local") == (None, [])


def test_this_machines_cluster_is_joined_and_said(head: str, note_file: Path) -> None:
    note_file.write_text(f"{head}\n")
    line = f"raysmooth: joining this machine's Ray cluster at {head} (--address local: a Ray of its own instead)"
    assert joined(None) == joined("auto") == (head, [line])
    assert joined("local") == (None, [])
    assert not will_be_local(None)
    assert will_be_local("local")


def test_what_another_user_has_written_is_not_read(head: str, note_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file lies where every user of the machine can write."""
    note_file.write_text(head)
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    assert joined(None) == (None, [])
    assert will_be_local(None)


def test_only_a_regular_file_is_read(head: str, note_file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(head)
    note_file.symlink_to(tmp_path / "elsewhere")
    assert joined(None) == (None, [])
    note_file.unlink()
    os.mkfifo(note_file)
    assert joined(None) == (None, [])


def test_a_listener_that_does_not_answer_is_not_waited_for(silent: str, note_file: Path) -> None:
    reason = f"what listens at {silent} does not answer as Ray does: check --address and RAY_ADDRESS, or write "
    with pytest.raises(RaysmoothError, match=f"^{reason}"):
        refuse_silence(silent)
    note_file.write_text(silent)
    line = f"raysmooth: no Ray cluster answers at {silent}, which {note_file} names: it is not joined"
    assert joined(None) == (None, [line])
    assert will_be_local(None)


def test_another_service_is_not_taken_for_a_cluster() -> None:
    """Ray would ask it for many minutes."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(RaysmoothError, match=rf"^what listens at 127.0.0.1:{port} does not answer as Ray does: "):
        refuse_silence(f"127.0.0.1:{port}")
    server.stop(None)


def test_a_real_cluster_answers(ray_cluster: dict[str, str]) -> None:
    assert joined(ray_cluster["RAY_ADDRESS"]) == (ray_cluster["RAY_ADDRESS"], [])


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:x", "head:²", "a\x1b[31m:x"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(RaysmoothError, match=r"^--address .*: write HOST:PORT of the cluster's head") as refused:
        refuse_silence(address)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", f"{'x' * 70}:6379"])
def test_a_cluster_that_is_not_there_is_refused(address: str) -> None:
    with pytest.raises(RaysmoothError, match=rf"^no Ray cluster answers at {address} \("):
        refuse_silence(address)
