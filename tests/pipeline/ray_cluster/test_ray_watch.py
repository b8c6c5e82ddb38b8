"""The end of the local Ray or of a joined cluster is noticed. (tests/commands/test_killed.py and
tests/cluster/test_lost_cluster.py kill real ones.)
"""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.ray_cluster import ray_watch
from raysmooth.pipeline.ray_cluster.ray_watch import RayIsGone, head_listens, interruptible, listener, watching_ray


@dataclass
class Node:
    """What Ray knows of the processes that it has started."""

    dead: list[tuple[str, SimpleNamespace]] = field(default_factory=list)

    def dead_processes(self) -> list[tuple[str, SimpleNamespace]]:
        return self.dead


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr("ray._private.worker._global_node", node)
    monkeypatch.setattr(ray_watch, "LOOK_SECONDS", 0.01)
    return node


@pytest.mark.parametrize("kind", ["raylet", "gcs_server"])
def test_a_wait_ends_when_ray_is_gone(node: Node, kind: str) -> None:
    node.dead.append((kind, SimpleNamespace(pid=7)))
    reason = rf"^stopped: the local Ray is gone \({kind}, process 7, has ended\)"
    with pytest.raises(RaysmoothError, match=reason), watching_ray(None):
        time.sleep(200)


def test_ray_can_do_without_its_other_processes(node: Node) -> None:
    node.dead.append(("log_monitor", SimpleNamespace(pid=7)))
    with watching_ray(None):
        time.sleep(0.1)


def test_other_ends_are_as_they_were(node: Node) -> None:
    for error in (KeyboardInterrupt(), RaysmoothError("full")):
        with pytest.raises(type(error)) as raised, watching_ray(None):
            raise error
        assert raised.value is error


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What listens at the address of a cluster's head."""
    monkeypatch.setattr(ray_watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ray_watch, "GONE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address_of(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def wait_for_its_end(head: socket.socket, address: str) -> None:
    with watching_ray(address):
        head.close()
        time.sleep(200)


def test_a_wait_ends_when_a_joined_cluster_is_gone(head: socket.socket) -> None:
    address = address_of(head)
    line = f"stopped: the Ray cluster at {address} has ended, or cannot be reached any more; finished work is on disk:"
    with pytest.raises(RayIsGone, match=f"^{line}") as raised:
        wait_for_its_end(head, address)
    assert not raised.value.is_local
    assert str(raised.value).endswith("on a cluster that runs or with --address local")


def test_an_error_that_comes_of_the_end_is_the_end(head: socket.socket) -> None:
    address = address_of(head)

    def fail() -> None:
        with watching_ray(address):
            raise OSError("an actor is unavailable")

    with pytest.raises(OSError, match="an actor"):
        fail()
    head.close()
    with pytest.raises(RayIsGone, match=f"^stopped: the Ray cluster at {address} has ended"):
        fail()


def test_a_head_that_is_restarted_ends_nothing(head: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_watch, "GONE_SECONDS", 60.0)
    address = address_of(head)
    with watching_ray(address):
        head.close()
        time.sleep(0.2)
        assert not listener(address)()


def test_a_process_that_cannot_leave_is_ended_with_the_line(
    head: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it waits for an answer within Ray, which hears no signal."""
    monkeypatch.setattr(ray_watch, "LEAVING_SECONDS", 0.05)
    ended: list[str | None] = []
    monkeypatch.setattr(ray_watch, "_end", ended.append)
    address = address_of(head)
    head.close()

    def deaf() -> None:
        with watching_ray(address):
            while not ended:
                with suppress(KeyboardInterrupt):
                    time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(RayIsGone):
        deaf()
    (line,) = ended
    assert line is not None
    assert line.startswith(f"raysmooth: stopped: the Ray cluster at {address} has ended")


@pytest.fixture
def raylet(head: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What listens at the sockets of the raylet that this process uses."""
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("raylet")
        server.listen()
        node = SimpleNamespace(plasma_store_socket_name="raylet", raylet_socket_name="raylet")
        monkeypatch.setattr("ray._private.worker._global_node", node)
        yield server


def end(raylet: socket.socket) -> None:
    """Its listening socket, and the connections to it: a process that ends closes both."""
    accepted = [raylet.accept()[0] for _ in range(2)]
    raylet.close()
    for one in accepted:
        one.close()


def wait_for_the_raylets_end(head: socket.socket, raylet: socket.socket, leaves_at_once: bool) -> None:
    with watching_ray(address_of(head), leaves_at_once):
        end(raylet)
        time.sleep(200)


@pytest.mark.parametrize("leaves_at_once", [False, True])
def test_the_end_of_its_raylet_is_noticed_while_the_head_listens(
    leaves_at_once: bool, head: socket.socket, raylet: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_watch, "LOOK_SECONDS", 200.0)
    ended: list[str] = []
    monkeypatch.setattr(ray_watch, "_end", ended.append)
    line = f"stopped: the Ray cluster at {address_of(head)} has ended on this machine; finished work is on disk: "
    with pytest.raises(RayIsGone, match=f"^{line}") as raised:
        wait_for_the_raylets_end(head, raylet, leaves_at_once)
    assert not raised.value.is_local
    assert ended == ([f"raysmooth: {raised.value}"] if leaves_at_once else [])


def test_a_raylet_that_has_ended_before_is_noticed(head: socket.socket, raylet: socket.socket) -> None:
    raylet.close()
    with pytest.raises(RayIsGone, match="has ended on this machine"), watching_ray(address_of(head)):
        time.sleep(200)


def test_a_raylet_is_left_without_waiting(
    head: socket.socket, raylet: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_watch, "LOOK_SECONDS", 200.0)
    with watching_ray(address_of(head), leaves_at_once=True):
        accepted = [raylet.accept()[0] for _ in range(2)]
    assert [one.recv(1) for one in accepted] == [b"", b""]  # closed at this end, and no end of Ray
    for one in accepted:
        one.close()


@pytest.mark.parametrize("drained", [True, False])
def test_an_error_on_a_node_that_is_drained_is_the_end(
    drained: bool, head: socket.socket, raylet: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an actor for which the node has no place any more. `ray start` drains its node before it ends."""
    context = SimpleNamespace(get_node_id=lambda: "a1")
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    nodes = {"b2": 0, **({"a1": 0} if drained else {})}
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.raylet.state.get_draining_nodes", lambda: nodes)
    with pytest.raises(RayIsGone if drained else OSError), watching_ray(address_of(head)):
        raise OSError("not schedulable")


def test_a_question_to_ray_can_be_interrupted() -> None:
    assert interruptible(lambda: 3) == 3
    with pytest.raises(ValueError, match="no"):
        interruptible(lambda: int("no"))
    never = threading.Event()
    before = signal.signal(signal.SIGUSR1, ray_watch._interrupt)
    main = threading.get_ident()
    threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGUSR1)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            interruptible(never.wait)
    finally:
        signal.signal(signal.SIGUSR1, before)
        never.set()


def test_without_ray_no_head_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    assert head_listens()
