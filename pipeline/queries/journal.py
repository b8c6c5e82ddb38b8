"""A journal: what was added since the last part, on disk at every commit.

On this machine lines are appended and synced. An object store cannot append: there the journal, which is small, is
uploaded again as a whole.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.queries.frames import DamagedFrames, Frames, framed, read_frames
from raysmooth.pipeline.store.part_store import full_is_refused
from raysmooth.storage.location import Location

LARGEST_JOURNAL = 2**30
"""Bytes."""


def read_journal(file: Location) -> Frames | None:
    """The lines of a journal; None if there is none. Raises RaysmoothError for a file that is damaged, other than by an
    incomplete last line.
    """
    try:
        return read_frames(file.read_bytes(most=LARGEST_JOURNAL))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RaysmoothError(f"{file} cannot be read ({error.strerror or one_line(error)})") from None
    except DamagedFrames as damage:
        raise RaysmoothError(
            f"{file} is corrupt at byte {damage.at:,}: restore it, or move it away and run the command again (its "
            "answers will be asked for again)"
        ) from None


class Journal:
    """Writes the journal `file`. After an error of a commit its lines wait for the next one."""

    def __init__(self, file: Location) -> None:
        self._file = file
        self._committed, self._last = b"", 0
        self._size = 0
        self._waiting: list[bytes] = []
        self._open: int | None = None

    @property
    def size(self) -> int:
        """Bytes that are committed."""
        return self._size

    def begin(self, payloads: Sequence[bytes]) -> None:
        """Replace the file, if there is one, by a journal of `payloads`."""
        content, last = framed(payloads)
        self.close()
        with full_is_refused(self._file):
            self._file.write_atomic(content)
            if self._file.is_local:
                sync_folder(self._file.parent.local)
        self._continue(content, last)

    def resume(self, found: Frames) -> None:
        """Continue the file, whose lines are `found`, after its last whole line."""
        content, _ = framed(found.payloads)
        self._continue(content, found.last)

    def _continue(self, content: bytes, last: int) -> None:
        self._size, self._last = len(content), last
        if self._file.is_local:
            with full_is_refused(self._file):
                self._open = os.open(self._file.local, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        else:
            self._committed = content

    def add(self, payload: bytes) -> None:
        """Another line, at the next commit."""
        self._waiting.append(payload)

    @property
    def is_waiting(self) -> bool:
        """Whether lines wait for a commit."""
        return bool(self._waiting)

    def commit(self) -> None:
        """All lines are on the disk, or in the store, when this returns. Raises RaysmoothError if they cannot be."""
        if not self._waiting:
            return
        lines, last = framed(self._waiting, self._last)
        with full_is_refused(self._file):
            if self._open is None:
                self._file.write_atomic(self._committed + lines)
                self._committed += lines
            else:
                os.ftruncate(self._open, self._size)  # what a commit that failed has left
                _write(self._open, lines, self._size)
                os.fsync(self._open)
        self._size, self._last, self._waiting = self._size + len(lines), last, []

    def close(self) -> None:
        """Let the file go. Lines that wait are not written."""
        if self._open is not None:
            os.close(self._open)
            self._open = None


def _write(descriptor: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def sync_folder(folder: Path) -> None:
    """The names of the files in `folder` are on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
