"""A run's progress.json: a record that its driver writes every few seconds, read by other processes and machines.

It decides nothing, and no row depends on it: the run's Parquet files are what counts. It says what these do not hold
yet, and whether a driver is at work.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.pipeline.store.writer_process import WriterProcess

HEARTBEAT_SECONDS = 5.0
"""How often a driver writes the record."""

SILENCE = 6 * HEARTBEAT_SECONDS
"""Seconds without a record after which the driver may be dead. Larger than the differences between machines' clocks."""


class Phase(StrEnum):
    """What the driver is doing about the run."""

    STARTING = "starting"
    """Its replicas load and compile, or wait for a node."""
    WAITING = "waiting"
    """Another run of the same command is being drawn."""
    DRAWING = "drawing"
    DRAWN = "drawn"
    """All images are drawn; the last rows are written when the command ends."""
    STOPPED = "stopped"
    """The driver has ended before the run was finished."""
    DONE = "done"


@dataclass(frozen=True)
class ProgressRecord:
    """`session` is the part of its parts' names that distinguishes them from those of other sessions. Of this session:
    finished `images`, `errors` among them (whose rows are held back until the end), `draws`, and `seconds` since the
    run's first unit was handed out; `seconds_before` are those of earlier sessions. Of the pool: `replicas` that can
    draw, and `deaths` of replicas. `why` it was stopped, and `error`, the first of the errors, are texts or None.
    """

    session: str
    phase: Phase
    images: int
    errors: int
    draws: int
    seconds: float
    seconds_before: float
    replicas: int
    deaths: int
    writer: WriterProcess
    why: str | None = None
    error: str | None = None

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def parse(cls, text: str) -> "ProgressRecord | None":
        """None if the text is not a record of this version."""
        try:
            found: Mapping[str, Any] = json.loads(text)
            known = {field.name: found[field.name] for field in fields(cls)}
            return cls(**{**known, "phase": Phase(known["phase"]), "writer": WriterProcess(**known["writer"])})
        except (ValueError, KeyError, TypeError):
            return None


def last_record(run: RunFolder) -> tuple[ProgressRecord, float] | None:
    """The run's last record, and when it was written (seconds since the epoch, by the clock of the file system); None
    if there is none.
    """
    try:
        record, when = ProgressRecord.parse(run.progress.read_text()), run.progress.modified()
    except OSError:
        return None
    return (record, when) if record is not None else None
