"""Notices that the Ray which this process uses is gone: Ray itself would wait for it, or end the process."""

import atexit
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any, TypeVar

import ray
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.ray_cluster.raylet import Raylet, is_drained

LOOK_SECONDS = 0.5
"""How often Ray's processes are looked at. Without its GCS, Ray ends this process after a minute."""

GONE_SECONDS = 10.0
"""How long nothing has listened at the head of a cluster that counts as ended: a head may be restarted."""

LEAVING_SECONDS = 15.0
"""How long the main thread may take to leave a cluster that has ended: it may wait in Ray, where no signal is heard."""

STOPPED = 2
"""Exit code of a command that is refused or stopped."""

Answer = TypeVar("Answer")

_WAKE = signal.SIGRTMIN + 7
"""Raises KeyboardInterrupt in the main thread, also in a call that waits. No one sends it but this module."""

RERUN = "rerun the same command to resume, on a cluster that runs or with --address local"
"""What to do after the end of a cluster that a command has joined."""

_ON_DISK = "finished work is on disk: "
_SILENT = "has ended, or cannot be reached any more"


class RayIsGone(RaysmoothError):
    """The local Ray or, unless `is_local`, the cluster that this process has joined has ended."""

    def __init__(self, message: str, is_local: bool) -> None:
        super().__init__(message)
        self.is_local = is_local


def head_listens() -> bool:
    """Whether something listens where Ray's head was; True where there is no Ray."""
    return not ray.is_initialized() or listener(ray.get_runtime_context().gcs_address)()


def interruptible(ask: Callable[[], Answer]) -> Answer:
    """`ask()`, which asks Ray's head: while it waits for the answer, the main thread still hears signals."""
    answer: Future[Answer] = Future()

    def wait() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=wait, name="raysmooth: asking Ray", daemon=True).start()
    return answer.result()


def leave_lost_cluster() -> None:
    """Leave a cluster that has ended without a word to it, as this process ends: Ray would wait for its head for a
    minute, and then abort.
    """
    atexit.register(_end)


def _end(line: str | None = None) -> None:
    """End the process at once, as one that was stopped."""
    if line is not None:
        # A bar that moves hides the cursor.
        print("\x1b[?25h" * sys.stderr.isatty() + line, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(STOPPED)


@contextmanager
def watching_ray(address: str | None, leaves_at_once: bool = False, remedy: str = RERUN) -> Iterator[None]:
    """Within, the main thread is interrupted when the cluster at `address` (HOST:PORT of its head) ends, or the raylet
    or GCS of the local Ray where that is None, and RaysmoothError is raised. `remedy`: the end of its message for a
    joined cluster. In other threads nothing is watched.

    Where the raylet of a joined cluster has ended, Ray itself ends this process at its next word to it, often within
    milliseconds. `leaves_at_once`: the process is then ended before that, with the refusal as its last line; for work
    that leaves nothing to be written here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watched = _LocalRay() if address is None else _JoinedCluster(address, remedy)
    main, leaving = threading.get_ident(), threading.Event()
    ended: list[str] = []

    def watch() -> None:
        while True:
            watched.pause(leaving)
            if leaving.is_set():
                return
            if (reason := watched.look()) is not None:
                if leaves_at_once and watched.raylet_ended:
                    _end(f"raysmooth: {reason}")
                ended.append(reason)
                signal.pthread_kill(main, _WAKE)
                if address is not None and not leaving.wait(LEAVING_SECONDS):
                    _end(f"raysmooth: {reason}")
                return

    def wake(number: int, frame: FrameType | None) -> None:
        if not leaving.is_set():
            _interrupt(number, frame)

    before = signal.signal(_WAKE, wake)
    watcher = threading.Thread(target=watch, name="raysmooth: is Ray there?", daemon=True)
    try:
        watcher.start()
        yield
    except BaseException as error:
        leaving.set()
        # Ray's own errors may come first, as of an actor that is unavailable.
        if not ended and isinstance(error, Exception) and not isinstance(error, RaysmoothError):
            ended.extend(watched.ended())
        if ended:
            raise RayIsGone(ended[0], is_local=address is None) from error
        raise
    finally:
        leaving.set()
        watched.leave()
        watcher.join()
        watched.close()
        signal.signal(_WAKE, before)


def ended_process() -> str | None:
    """The raylet or the GCS that this process has started, in words, if it has ended."""
    node: Any = ray._private.worker._global_node  # Ray's processes have no public interface
    for kind, process in node.dead_processes() if node is not None else ():
        if kind in (PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET):
            return f"{kind}, process {process.pid}"
    return None


class _LocalRay:
    """The Ray that this process has started."""

    raylet_ended = False
    """Ended with the line at once: no, since a process outlives the Ray that it has started."""

    def pause(self, leaving: threading.Event) -> None:
        """Wait until the next look."""
        leaving.wait(LOOK_SECONDS)

    def leave(self) -> None:
        """Nothing waits in `pause` any more."""

    def close(self) -> None:
        """End the connections, if there are any."""

    def look(self) -> str | None:
        """The refusal of a Ray that is gone."""
        if (process := ended_process()) is None:
            return None
        return f"stopped: the local Ray is gone ({process}, has ended); {_ON_DISK}rerun the same command to resume"

    def ended(self) -> list[str]:
        """As `look`, at once."""
        return [reason] if (reason := self.look()) is not None else []


class _JoinedCluster:
    """A cluster that this process has joined: its head, and its raylet on this machine."""

    def __init__(self, address: str, remedy: str) -> None:
        self._address, self._listens, self._remedy = address, listener(address), remedy
        self._heard = monotonic()
        self._raylet = Raylet()

    @property
    def raylet_ended(self) -> bool:
        return self._raylet.ended

    def pause(self, leaving: threading.Event) -> None:
        """Wait until the next look: shorter where the raylet ends, or `leave` is called."""
        self._raylet.wait(leaving, LOOK_SECONDS)

    def leave(self) -> None:
        self._raylet.leave()

    def close(self) -> None:
        self._raylet.close()

    def look(self) -> str | None:
        """The refusal of a cluster that has ended."""
        if self._raylet.ended:
            return self._refusal("has ended on this machine")
        if self._listens():
            self._heard = monotonic()
        return self._refusal(_SILENT) if monotonic() - self._heard > GONE_SECONDS else None

    def ended(self) -> list[str]:
        """The refusal of one that has ended now, or is about to."""
        if self._raylet.ended or is_drained():
            return [self._refusal("has ended on this machine")]
        return [] if self._listens() else [self._refusal(_SILENT)]

    def _refusal(self, what: str) -> str:
        return f"stopped: the Ray cluster at {printable(self._address)} {what}; {_ON_DISK}{self._remedy}"


def listener(address: str) -> Callable[[], bool]:
    """A function that says whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")

    def listens() -> bool:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
        except OSError:
            return False
        return True

    return listens


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
