"""A run's progress.json: a record that its driver writes every few seconds, read by other processes and machines.

It decides nothing, and no row depends on it: the run's Parquet files are what counts. It says what these do not hold
yet, and whether a driver is at work.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from pydantic import field_validator

from raysmooth.common.errors import printable
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.pipeline.store.writer_process import WriterProcess, WriterRecord
from raysmooth.storage.records import BadRecord, Count, Name, Record, Seconds, parsed, read_record, validated

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
            return validated(_StoredRecord, parsed(text, "record"), "record").record
        except BadRecord:
            return None


class _StoredRecord(Record):
    """A record as it stands in the file."""

    session: Name
    phase: Name
    images: Count
    errors: Count
    draws: Count
    seconds: Seconds
    seconds_before: Seconds
    replicas: Count
    deaths: Count
    writer: WriterRecord
    why: str | None = None
    error: str | None = None

    @field_validator("phase")
    @classmethod
    def _known(cls, phase: str) -> str:
        if phase not in list(Phase):
            raise ValueError(f"one of {', '.join(Phase)}")
        return phase

    @property
    def record(self) -> ProgressRecord:
        own = {name: getattr(self, name) for name in _StoredRecord.model_fields}
        texts = {name: None if own[name] is None else printable(own[name]) for name in ("why", "error")}
        return ProgressRecord(**{**own, **texts, "phase": Phase(self.phase), "writer": self.writer.process})


def last_record(run: RunFolder) -> tuple[ProgressRecord, float] | None:
    """As `read_progress`; None also for a file that is no record."""
    try:
        return read_progress(run)
    except BadRecord:
        return None


def read_progress(run: RunFolder) -> tuple[ProgressRecord, float] | None:
    """The run's last record, and when it was written (seconds since the epoch, by the clock of the file system); None
    if there is none. Raises BadRecord for a file that is no record of this version.
    """
    try:
        record, when = read_record(_StoredRecord, run.progress).record, run.progress.modified()
    except OSError:
        return None
    return record, when
