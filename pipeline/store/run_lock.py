"""One process at a time writes a run: a lock of the operating system for a run on this machine, a lease in an object
store.

A lease is an object that its holder rewrites every few seconds. A process that finds the lease of another one waits,
and takes it over if it does not change: its holder is gone. Clocks of different machines are never compared. A writer
that was frozen for that long looks as if it were gone; it checks before every write who holds the lease, and stops if
it is another process.
"""

import errno
import fcntl
import json
import os
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from threading import Event, Thread
from typing import Protocol, TextIO

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.store.manifest import RUNS
from raysmooth.pipeline.store.writer_process import WriterProcess, WriterRecord
from raysmooth.storage.location import Location
from raysmooth.storage.object_store import Unreachable, notify
from raysmooth.storage.records import BadRecord, Count, Name, Record, parsed, validated
from raysmooth.storage.regular_file import open_lock

_NO_FILES = (errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO)
"""Answers to opening what is no regular file, or a link."""

LEASE_SECONDS = 3.0
"""How often a lease is rewritten."""

PATIENCE_HEARTBEATS = 5
"""How many heartbeats a process waits for a lease that does not change."""

SETTLE_SECONDS = 1.0
"""If two processes take a lease at the same moment, the one that wrote last holds it; both know after this time."""


class RunLock(Protocol):
    def verify(self, patiently: bool = True) -> None:
        """Raises RaysmoothError if another process writes the run now; Unreachable if that is unknown, unless
        `patiently`.
        """

    def close(self) -> None:
        """Release the run."""


def lock_run(home: Location) -> RunLock:
    """The lock of the run with the folder `home`, or of the queries of all runs in <out>/queries.
    Raises RaysmoothError if another process holds it.
    """
    return LocalLock(home) if home.is_local else Lease(home)


def refuse_being_written(home: Location) -> None:
    """Raises RaysmoothError if another process writes the run with the folder `home`, which is on this machine, now.
    Changes nothing.
    """
    try:
        file = open_lock(home.local / ".lock", "r")
    except OSError:  # nothing to lock, or `lock_run` will say what is wrong
        return
    with file:
        _flock(home, file, fcntl.LOCK_SH)


class LocalLock:
    """The operating system releases it when the process ends, for whatever reason."""

    def __init__(self, home: Location) -> None:
        self._path = home.local / ".lock"
        self._file = self._locked(home)
        while not self._is_there():  # another process removed the file before it was locked
            self._file.close()
            self._file = self._locked(home)
        with suppress(OSError):  # on a full disk the writer stays unknown
            self._file.seek(0)
            self._file.truncate()
            self._file.write(str(WriterProcess.here()))
            self._file.flush()

    def verify(self, patiently: bool = True) -> None:
        if not self._is_there():
            raise RaysmoothError(
                f"stopped: {self._path} was removed while this process wrote the run, and another process may write it "
                "now: restore the folder if you can, and run the command again"
            )

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()

    def _locked(self, home: Location) -> TextIO:
        try:
            file = open_lock(self._path, "a+")
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
            raise RaysmoothError(f"{self._path} is no lock file ({error.strerror}): remove it") from None
        try:
            _flock(home, file, fcntl.LOCK_EX)
        except RaysmoothError:
            file.close()
            raise
        return file

    def _is_there(self) -> bool:
        """Whether the file that is locked is the one that others would lock."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            return False


def _flock(home: Location, file: TextIO, kind: int) -> None:
    """Lock `file`. Raises RaysmoothError if another process holds a lock that excludes this one, for longer than
    `refuse_being_written` does.
    """
    for attempt in range(3):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except OSError:
            time.sleep(0.05 * (attempt < 2))
    file.seek(0)
    raise _being_written(home, printable(file.read(200).strip()) or "another process")


@dataclass(frozen=True)
class _LeaseContent:
    """The holder of a lease, its unique `id`, and how often it was rewritten. `writer` is None if it cannot be
    read; its holder may still be there.
    """

    id: str
    writer: WriterProcess | None
    heartbeats: int = 0

    @classmethod
    def parse(cls, content: bytes) -> "_LeaseContent":
        try:
            found = validated(_LeaseRecord, parsed(content, "lease"), "lease")
        except BadRecord:
            return cls("", None)
        return cls(found.id, found.writer.process, found.heartbeats)

    def text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_gone(self) -> bool:
        return self.writer is not None and self.writer.is_gone

    def __str__(self) -> str:
        return str(self.writer) if self.writer is not None else "another process"


class _LeaseRecord(Record):
    """A lease as it stands in the object."""

    id: Name
    writer: WriterRecord
    heartbeats: Count = 0


class Lease:
    """The object `.lock` in a run's folder."""

    def __init__(self, home: Location) -> None:
        self._home, self._file = home, home / ".lock"
        self._id, self._writer = uuid.uuid4().hex, WriterProcess.here()
        self._heartbeats = 0
        self._wait_for_holder(self._content())
        self._rewrite()
        time.sleep(SETTLE_SECONDS)
        self.verify()
        self._closed = Event()
        self._thread = Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def verify(self, patiently: bool = True) -> None:
        found = self._read(patiently)
        if found is None:  # removed by hand, or by a writer that had taken it over and is done
            raise RaysmoothError(
                f"stopped: {self._file} is gone, another process may have written the run: run the command again"
            )
        if found.id != self._id:
            raise _being_written(self._home, str(found))

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        with suppress(RaysmoothError, Unreachable):  # a lease that is not rewritten is taken over anyway
            self.verify(patiently=False)
            self._file.unlink(patiently=False)

    def _keep(self) -> None:
        while not self._closed.wait(LEASE_SECONDS):
            # Never overwrite another process's lease. The next write to the run reports all this to the user.
            with suppress(RaysmoothError, Unreachable):
                self.verify(patiently=False)
                self._rewrite(patiently=False)

    def _rewrite(self, patiently: bool = True) -> None:
        self._heartbeats += 1
        content = _LeaseContent(self._id, self._writer, self._heartbeats)
        self._file.write_atomic(content.text().encode(), patiently=patiently)

    def _content(self, patiently: bool = True) -> bytes | None:
        try:
            return self._file.read_bytes(patiently)
        except FileNotFoundError:
            return None

    def _read(self, patiently: bool = True) -> _LeaseContent | None:
        content = self._content(patiently)
        return _LeaseContent.parse(content) if content is not None else None

    def _wait_for_holder(self, before: bytes | None) -> None:
        """Wait until the holder of a lease is known to be gone. Raises RaysmoothError if it is alive.

        Bytes are compared, not what they mean: the holder may be of another version, whose lease cannot be read here.
        """
        if before is None or (found := _LeaseContent.parse(before)).is_gone:
            return
        patience = LEASE_SECONDS * PATIENCE_HEARTBEATS
        notify(f"{self._home} was being written by {found}: waiting {patience:.0f} s, to see if it still is")
        until = time.monotonic() + patience
        while time.monotonic() < until:
            time.sleep(min(1.0, LEASE_SECONDS))
            content = self._content()
            if content is None or (again := _LeaseContent.parse(content)).is_gone:
                return
            if content != before:
                raise _being_written(self._home, str(again))


def _being_written(home: Location, writer: str) -> RaysmoothError:
    is_run = home.parent.name == RUNS
    what, verb, out = ("run ", "is", home.parent.parent) if is_run else ("the ", "are", home.parent)
    return RaysmoothError(
        f"{what}{home.name} in {out} {verb} being written by {writer}: wait for it, stop it, or write another --out"
    )
