"""The process that writes a run, and whether it is known to be gone."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from raysmooth.storage.records import Count, Name, Record

_ENDED = ("Z", "X")
"""States in /proc of a process that has ended and whose parent has not noticed yet."""


@dataclass(frozen=True)
class WriterProcess:
    """`pid` is valid on the machine `host` since its start `boot`, within the pid namespace `space` (a container has
    its own). `started` is the process's start time in clock ticks since the boot, which distinguishes it from a later
    process with the same pid. `boot` and `space` are empty, and `started` None, if the system does not say.
    """

    host: str
    pid: int
    boot: str = ""
    space: str = ""
    started: int | None = None

    @classmethod
    def here(cls) -> "WriterProcess":
        """The process that calls this."""
        return cls.with_pid(os.getpid())

    @classmethod
    def with_pid(cls, pid: int) -> "WriterProcess":
        """A process of this machine and container."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            space = os.readlink("/proc/self/ns/pid")
        except OSError:
            boot = space = ""
        return cls(os.uname().nodename, pid, boot, space, _state_and_start(pid)[1])

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_gone(self) -> bool:
        """Whether the process is known to have ended; False if that cannot be known from here."""
        here = WriterProcess.with_pid(self.pid)
        if not (self.boot and self.space) or (self.host, self.boot, self.space) != (here.host, here.boot, here.space):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # another user's
            pass
        state, started = _state_and_start(self.pid)
        reused = started is not None and self.started is not None and started != self.started
        return state in _ENDED or reused


class WriterRecord(Record):
    """A process as files describe it."""

    host: Name
    pid: Annotated[int, Field(ge=1, le=2**31 - 1)]
    boot: Name = ""
    space: Name = ""
    started: Count | None = None

    @property
    def process(self) -> WriterProcess:
        return WriterProcess(self.host, self.pid, self.boot, self.space, self.started)


def _state_and_start(pid: int) -> tuple[str, int | None]:
    """State and start time of a process by /proc/PID/stat; empty and None if the system does not say."""
    try:
        # The name, in parentheses, may hold anything; the state is the field behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", None
