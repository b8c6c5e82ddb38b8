"""Signals that end a command, all in one way: Ctrl-C, a scheduler's SIGTERM, the SIGHUP of a closed terminal."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_received: list[int] = []


@contextmanager
def handled_as_interrupts() -> Iterator[None]:
    """Within, the first of these signals raises KeyboardInterrupt in the main thread, as Ctrl-C does in Python; the
    second ends the process at once. A signal that is ignored (nohup ignores SIGHUP) stays so.
    """
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    _received.clear()
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        if not _received:  # else the process ends, which a second signal may still hasten
            for number in taken:
                signal.signal(number, before[number])


def exit_code() -> int:
    """The exit code of an interrupted command: 128 plus the number of the signal, 130 for Ctrl-C."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _received:
        os._exit(128 + number)
    _received.append(number)
    raise KeyboardInterrupt
