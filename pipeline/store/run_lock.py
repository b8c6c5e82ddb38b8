"""One process at a time writes a run: a lock of the system's where the run is on this machine, a lease in an object
store.

A lease is an object that its holder rewrites every few seconds. Whoever finds another's waits, and takes it over if it
stays as it is: its writer is gone. No clock of one machine is compared with another's. A writer that was frozen for so
long looks as if it were gone; it asks whose the lease is before it writes anything, and stops where that is another's.
"""

import fcntl
import json
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.location import Location
from raysmooth.storage.object_store import Unreachable, notify

HEARTBEAT_SECONDS = 3.0
"""How often a lease is rewritten."""

PATIENCE_HEARTBEATS = 5
"""How many beats a lease that stays as it is is waited for."""

SETTLE_SECONDS = 1.0
"""Of two who take a lease at the same moment, the one who wrote last has it: after so long both know."""


class RunLock(Protocol):
    def verify(self, patiently: bool = True) -> None:
        """Raises RaysmoothError if another process writes the run now; Unreachable where that cannot be told, unless
        `patiently`.
        """

    def close(self) -> None:
        """Give the run free."""


def lock_run(home: Location) -> RunLock:
    """The lock of the run whose folder this is. Raises RaysmoothError if another process has it."""
    return LocalLock(home) if home.is_local else Lease(home)


class LocalLock:
    """The system drops it with the process, however that ends."""

    def __init__(self, home: Location) -> None:
        self._file = open(home.local / ".lock", "a+")  # noqa: SIM115 -- held as long as the lock is
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            writer = self._file.read().strip() or "another process"
            self._file.close()
            raise _written(home, writer) from None
        with suppress(OSError):  # on a full disk nobody is told who the writer is
            self._file.seek(0)
            self._file.truncate()
            self._file.write(f"process {os.getpid()} on {os.uname().nodename}")
            self._file.flush()

    def verify(self, patiently: bool = True) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()


class Lease:
    """The object `.lock` in a run's folder: who writes the run, and a count of beats."""

    def __init__(self, home: Location) -> None:
        self._home, self._file = home, home / ".lock"
        self._mine = {
            "id": uuid.uuid4().hex,
            "process": os.getpid(),
            "host": os.uname().nodename,
            "machine": _machine(),
        }
        self._beats = 0
        self._await_another(self._read())
        self._beat()
        time.sleep(SETTLE_SECONDS)
        self.verify()
        self._ended = Event()
        self._thread = Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def verify(self, patiently: bool = True) -> None:
        found = self._read(patiently)
        if found is None:  # removed by hand, or by a writer that had taken it over and is done
            raise RaysmoothError(
                f"stopped: {self._file} is gone, another may have written the run: run the command again"
            )
        if found["id"] != self._mine["id"]:
            raise _written(self._home, _writer(found))

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(RaysmoothError, Unreachable):  # a lease that nobody rewrites is taken over anyway
            self.verify(patiently=False)
            self._file.unlink(patiently=False)

    def _keep(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            # Another's is not written over. Who writes, not who keeps the lease, tells the user of all this.
            with suppress(RaysmoothError, Unreachable):
                self.verify(patiently=False)
                self._beat(patiently=False)

    def _beat(self, patiently: bool = True) -> None:
        self._beats += 1
        self._file.write_atomic(json.dumps({**self._mine, "beats": self._beats}).encode(), patiently=patiently)

    def _read(self, patiently: bool = True) -> dict[str, Any] | None:
        try:
            found = json.loads(self._file.read_bytes(patiently))
            return {"id": "", **found}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return {"id": ""}  # nobody's we know of, who may still be there

    def _await_another(self, found: dict[str, Any] | None) -> None:
        """Until the holder of a lease is known to be gone. Raises RaysmoothError if it is not."""
        if found is None or _dead(found):
            return
        patience = HEARTBEAT_SECONDS * PATIENCE_HEARTBEATS
        notify(f"{self._home} was being written by {_writer(found)}: waiting {patience:.0f} s, to see if it still is")
        until = time.monotonic() + patience
        while time.monotonic() < until:
            time.sleep(min(1.0, HEARTBEAT_SECONDS))
            again = self._read()
            if again is None or _dead(again):
                return
            if again != found:
                raise _written(self._home, _writer(again))


def _written(home: Location, writer: str) -> RaysmoothError:
    out = str(home.parent.parent)
    return RaysmoothError(
        f"run {home.name} in {out} is being written by {writer}: wait for it, stop it, or write another --out"
    )


def _writer(found: dict[str, Any]) -> str:
    return f"process {found['process']} on {found['host']}" if found["id"] else "another process"


def _machine() -> str:
    """Name of this machine since it was started, and what its process numbers mean here, in a container say."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{started} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex  # of no other: nobody is known to be dead


def _dead(found: dict[str, Any]) -> bool:
    """Whether the writer was a process of this machine that has ended."""
    if not found["id"] or found["machine"] != _machine():
        return False
    try:
        os.kill(found["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
