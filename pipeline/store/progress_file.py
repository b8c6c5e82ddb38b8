"""A run's sign of life: what its driver says of itself now and then, for whoever looks from another process or machine.

It decides nothing and no row depends on it: what is believed of a run is in its Parquet. It tells what is not there
yet, and whether anybody is at work.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from raysmooth.storage.location import Location

HEARTBEAT_SECONDS = 5.0
"""How often a driver says that it lives."""

SILENCE = 6 * HEARTBEAT_SECONDS
"""Seconds without a sign after which nobody should count on the driver. Above what clocks of machines differ by."""

FILE = "progress.json"


class Phase(StrEnum):
    """What the driver is doing about the run."""

    STARTING = "starting"
    """Its replicas load and compile, or wait for a node."""
    WAITING = "waiting"
    """Another run of the same command is being drawn."""
    DRAWING = "drawing"
    DRAWN = "drawn"
    """All its images are; their last rows are written when the command ends."""
    STOPPED = "stopped"
    """The driver has left, before the run's end."""
    DONE = "done"


@dataclass(frozen=True)
class Writer:
    """The process that writes a run. `space` tells process numbers of containers from those of their host."""

    host: str
    pid: int
    space: str

    @classmethod
    def here(cls) -> "Writer":
        try:
            space = os.readlink("/proc/self/ns/pid")
        except OSError:  # no Linux: no containers that would share the host's name
            space = ""
        return cls(os.uname().nodename, os.getpid(), space)

    @property
    def is_gone(self) -> bool:
        """Whether it is known, because it was on this very machine, that the process is no more."""
        here = Writer.here()
        if (self.host, self.space) != (here.host, here.space):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            return False
        return False


@dataclass(frozen=True)
class ProgressRecord:
    """`session` is the part of its parts' names that tells them from those of other sessions. Of this session:
    `images` finished, `errors` (of them, their rows held back until the end), `draws`, `seconds` since the run's first
    unit was handed out; `seconds_before` are those of earlier sessions. Of the pool: `replicas` that can draw, `deaths`
    of replicas. `why` it was stopped, `error`, the first of the errors: words, if there are any.
    """

    session: str
    stage: Phase
    images: int
    errors: int
    draws: int
    seconds: float
    seconds_before: float
    replicas: int
    deaths: int
    writer: Writer
    why: str | None = None
    error: str | None = None

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def parse(cls, text: str) -> "ProgressRecord | None":
        """None for what another version has left, or nobody."""
        try:
            told: Mapping[str, Any] = json.loads(text)
            known = {field.name: told[field.name] for field in fields(cls)}
            return cls(**{**known, "stage": Phase(known["stage"]), "writer": Writer(**known["writer"])})
        except (ValueError, KeyError, TypeError):
            return None


def last_record(home: Location) -> tuple[ProgressRecord, float] | None:
    """The last sign of life of the run whose folder is `home`, and when it was given (seconds since the epoch, by the
    clock that the folder's files have); None if there is none.
    """
    file = home / FILE
    try:
        beat, when = ProgressRecord.parse(file.read_text()), file.modified()
    except OSError:
        return None
    return (beat, when) if beat is not None else None
