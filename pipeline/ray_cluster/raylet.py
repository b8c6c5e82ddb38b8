"""The raylet, Ray's process on this machine: whether it has ended, or is about to."""

import select
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import ray
from ray._private.state import state  # the notice that a node is drained has no public interface

_ANSWER_SECONDS = 5.0
"""How long the head may take to say which nodes are drained."""


def is_drained() -> bool:
    """Whether the node that this process uses is being ended: `ray start` drains it first, for up to half a minute."""
    if not ray.is_initialized():
        return False
    answer: Future[bool] = Future()

    def ask() -> None:
        try:
            answer.set_result(ray.get_runtime_context().get_node_id() in state.get_draining_nodes())
        except Exception:  # Ray has many for a head that is gone
            answer.set_result(False)

    threading.Thread(target=ask, name="raysmooth: is the node drained?", daemon=True).start()
    with suppress(TimeoutError):
        return answer.result(_ANSWER_SECONDS)
    return False


class Raylet:
    """The raylet that this process uses, by connections to its sockets: they end when it does. One that is not watched
    never counts as ended.
    """

    def __init__(self, is_watched: bool = True) -> None:
        self.ended = False
        self._lines: list[socket.socket] = []
        node: Any = ray._private.worker._global_node  # Ray's sockets have no public interface
        for path in (node.plasma_store_socket_name, node.raylet_socket_name) if is_watched and node is not None else ():
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(path)
            except OSError as error:
                line.close()
                self.ended |= isinstance(error, ConnectionRefusedError | FileNotFoundError)
            else:
                self._lines.append(line)

    def wait(self, leaving: threading.Event, seconds: float) -> None:
        """Wait at most `seconds` for its end or, once `leaving` is set, for `leave`."""
        if self.ended:
            return
        if not self._lines:
            leaving.wait(seconds)
            return
        ends = select.poll()
        for line in self._lines:
            ends.register(line, select.POLLRDHUP)
        self.ended = bool(ends.poll(seconds * 1000)) and not leaving.is_set()

    def leave(self) -> None:
        """End `wait`, in which another thread may be."""
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connections, in which nothing waits any more."""
        for line in self._lines:
            line.close()
