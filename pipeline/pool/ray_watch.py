"""Notices that the Ray which this process has started is gone: Ray itself would wait for it, or end the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET

from raysmooth.common.errors import RaysmoothError

LOOK_SECONDS = 0.5
"""How often Ray's processes are looked at. Without its GCS, Ray ends this process after a minute."""

_WAKE = signal.SIGRTMIN + 7
"""Raises KeyboardInterrupt in the main thread, also in a call that waits. No one sends it but this module."""


@contextmanager
def watching_local_ray() -> Iterator[None]:
    """Within, the main thread is interrupted when Ray's raylet or GCS ends, and RaysmoothError is raised. In other
    threads nothing is watched.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main, leaving = threading.get_ident(), threading.Event()
    ended: list[str] = []

    def watch() -> None:
        while not leaving.wait(LOOK_SECONDS):
            if (process := ended_process()) is not None:
                ended.append(process)
                signal.pthread_kill(main, _WAKE)
                return

    before = signal.signal(_WAKE, _interrupt)
    watcher = threading.Thread(target=watch, name="raysmooth: is Ray there?", daemon=True)
    watcher.start()
    try:
        yield
    except BaseException as error:
        if ended:
            raise RaysmoothError(
                f"stopped: the local Ray is gone ({ended[0]}, has ended); finished work is on disk: rerun the same "
                "command to resume"
            ) from error
        raise
    finally:
        leaving.set()
        watcher.join()
        signal.signal(_WAKE, before)


def ended_process() -> str | None:
    """The raylet or the GCS that this process has started, in words, if it has ended."""
    node: Any = ray._private.worker._global_node  # Ray's processes have no public interface
    for kind, process in node.dead_processes() if node is not None else ():
        if kind in (PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET):
            return f"{kind}, process {process.pid}"
    return None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
