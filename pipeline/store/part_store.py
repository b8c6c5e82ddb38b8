"""The parts of a run, written so that finished work is never lost or doubled, whatever is in them.

Rules: every part file is written under a temporary name and renamed when whole; no file is written twice; one process
at a time writes a run; a part that this run did not write is never used and never changed.
"""

import errno
import json
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self

import pyarrow as pa

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.manifest import ManifestError, RunFolder, read_manifest
from raysmooth.pipeline.store.parts import own_parts, part_name, sweep_unfinished, write_part
from raysmooth.pipeline.store.progress_file import ProgressRecord, last_record
from raysmooth.pipeline.store.row_checks import LATER
from raysmooth.pipeline.store.run_lock import lock_run
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.object_store import Unreachable

FLUSH_SECONDS, FLUSH_SHARE = 5.0, 0.01
"""Waiting rows are written at most every 5 seconds and, in a long run, every hundredth of its age: a week leaves
hundreds of files, not a hundred thousand, and a kill costs at most 1 % of the work.
"""


@dataclass
class _Batch:
    """Rows that wait to be written, and the name of the one file that will hold them."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)


class PartStore(ABC):
    """The files of one run: opens them (creating missing ones), knows the `finished` images, and appends rows.

    `parts`: the kinds of its rows in the order in which they reach the disk, each with its folder and schema. A
    subclass reads what earlier sessions wrote (`_read_earlier`) and sets `finished`.

    Raises RaysmoothError if another process writes the run, or if its folders hold a part that is corrupt or not this
    run's.
    """

    finished: set[int]

    def __init__(
        self, run: RunFolder, parts: Mapping[str, tuple[Location, pa.Schema]], manifest: dict[str, Any]
    ) -> None:
        self.run_id, self.manifest = run.run_id, manifest
        self._run, self._parts = run, dict(parts)
        self.session, self._batches = uuid.uuid4().hex[:8], 0
        self._waiting = {kind: self._new_batch() for kind in self._parts}
        self._opened = monotonic()
        self._due = self._opened + FLUSH_SECONDS
        folders = [self._run.home, *(path for path, _ in self._parts.values())]
        for path in folders:
            _refuse_file(path)
        with full_is_refused(self._run.home):
            for path in folders:
                path.make_folder()
            self._lock = lock_run(self._run.home)
        try:
            self._settle_manifest(manifest)
            for path, _ in self._parts.values():
                sweep_unfinished(path)
            self._read_earlier()
        except BaseException:
            self._lock.close()
            raise

    @abstractmethod
    def _read_earlier(self) -> None:
        """Read what earlier sessions wrote. Raises RaysmoothError for a part that this run cannot have."""

    def amend(self, **facts: Any) -> None:
        """Rewrite the manifest with `facts` added, which become known during the run and affect no row."""
        self.manifest |= facts
        self._lock.verify()
        with full_is_refused(self._run.home):
            self._run.manifest.write_atomic((json.dumps(self.manifest, indent=2) + "\n").encode())

    def write_progress(self, record: ProgressRecord) -> None:
        """Replace the record in progress.json, for readers elsewhere."""
        self._run.progress.write_atomic(record.text().encode(), durable=False, patiently=False)

    def last_record(self) -> ProgressRecord | None:
        """The last progress record, of this session or an earlier one."""
        found = last_record(self._run)
        return found[0] if found is not None else None

    def flush_when_due(self) -> None:
        """Write waiting rows, if it is time. If an object store does not answer, they stay in memory, so that drawing
        continues.
        """
        if monotonic() >= self._due:
            try:
                self.flush(patiently=False)
            except Unreachable as lost:
                self._due = monotonic() + lost.pause

    def flush(self, patiently: bool = True) -> None:
        """Write waiting rows, kind by kind. Raises RaysmoothError if they cannot be written, or another process has
        taken the run over; Unreachable unless `patiently`.
        """
        if any(batch.rows for batch in self._waiting.values()):
            self._lock.verify(patiently)
        for kind, (folder, schema) in self._parts.items():
            if (batch := self._waiting[kind]).rows:
                table = pa.Table.from_pylist(batch.rows, schema)
                with full_is_refused(folder):
                    write_part(folder / batch.name, table, self._origin(kind), patiently)
                # After an interrupt before this line, the next flush writes the same batch over its own file again.
                self._waiting[kind] = self._new_batch()
        now = monotonic()
        self._due = now + max(FLUSH_SECONDS, FLUSH_SHARE * (now - self._opened))

    def close(self) -> None:
        """Flush and release the run."""
        try:
            self.flush()
        finally:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _new_batch(self) -> _Batch:
        self._batches += 1
        return _Batch(part_name(self.session, self._batches))

    def _own_parts(self, kind: str) -> Iterator[Location]:
        return own_parts(*self._parts[kind], self._origin(kind), LATER)

    def _origin(self, kind: str) -> dict[str, str]:
        return {"run_id": self.run_id, "kind": kind}

    def _settle_manifest(self, manifest: dict[str, Any]) -> None:
        try:
            first = read_manifest(self._run, "identity")
        except ManifestError as error:
            if not error.is_missing:
                raise RaysmoothError(f"{error}: {error.remedy} and run the command again") from None
            self.amend()
            return
        if first.identity != manifest["identity"]:
            raise RaysmoothError(
                f"{self._run.manifest} describes another run: move the folder away, or write another --out"
            )
        # The same tensors may have another card now, say: all rows of a run have the facts of its first session.
        self.manifest = dict(first)


@contextmanager
def full_is_refused(where: Location) -> Iterator[None]:
    """A disk that is full or gone stops a run with a one-line message."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = f"no space is left for {where}: make some" if full else f"{where}: {error.strerror or error}"
        raise RaysmoothError(f"stopped: {reason}; finished work is saved: rerun the same command to resume") from None


def _refuse_file(folder: Location) -> None:
    """Raises RaysmoothError, naming it, where a file is in place of the folder, or of the one that holds it."""
    for place in (folder.parent, folder):
        if folder.is_local and place.exists() and not place.is_folder():
            raise RaysmoothError(f"{place} is a file, and results are written into a folder of that name: move it away")


def refuse_unwritable(out: Where) -> None:
    """Raises RaysmoothError if <out> cannot be created or written to. Tries it with a small file, and leaves neither
    that nor a new folder: the command may still be refused for another reason.
    """
    where, content = located(out), b"raysmooth tests whether it can write here\n"
    try:
        if where.is_local:
            new = [folder for folder in (where.local, *where.local.parents) if not folder.exists()]
            where.local.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=where.local) as file:
                file.write(content)
            for folder in new:
                with suppress(OSError):  # another command has begun to write there
                    folder.rmdir()
        else:
            trial = where / f".writable-{uuid.uuid4().hex[:8]}"
            trial.write_atomic(content)
            trial.unlink()
    except OSError as error:
        raise RaysmoothError(f"--out {out}: {error.strerror or error}: name a writable folder") from None
    except RaysmoothError as refusal:
        raise RaysmoothError(f"--out {refusal}") from None
