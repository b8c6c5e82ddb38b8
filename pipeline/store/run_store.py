"""The files of a run, written so that finished work is never lost or counted twice.

Rules: every part file is written under a temporary name and renamed when whole; no file is written twice; one process
at a time writes a run; counts reach the disk before the rows that are computed from them; a part that this run did not
write is never used and never changed.
"""

import errno
import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.count_checks import CountLimits, CountSums, bad_block
from raysmooth.pipeline.store.manifest import ManifestError, RunFolder, read_manifest
from raysmooth.pipeline.store.parts import (
    foreign,
    own_parts,
    part_name,
    read_part,
    read_parts,
    sweep_unfinished,
    write_part,
)
from raysmooth.pipeline.store.progress_file import ProgressRecord, last_record
from raysmooth.pipeline.store.row_checks import LATER, bad_row, row_facts
from raysmooth.pipeline.store.run_lock import lock_run
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.object_store import Unreachable

COUNTS_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("role", pa.string()),
        ("block", pa.int32()),
        ("draws", pa.int32()),
        # Sparse: the labels that occurred, and how often each.
        ("labels", pa.list_(pa.int32())),
        ("counts", pa.list_(pa.int32())),
        ("invalid", pa.int32()),
        ("seconds", pa.float64()),
    ]
)

_COMPARED = (
    *("image_id", "status", "prediction", "count_top", "count_rejected", "n_used", "draws"),
    *("p_upper", "alpha", "alpha_share", "noise_bound"),
)
"""Columns of earlier rows that are compared with their counts."""

FLUSH_SECONDS, FLUSH_SHARE = 5.0, 0.01
"""Waiting rows are written at most every 5 seconds and, in a long run, every hundredth of its age: a week leaves
hundreds of files, not a hundred thousand, and a kill costs at most 1 % of the work.
"""


@dataclass(frozen=True)
class CountedBlock:
    """One row of counts: one block of one image. `counts` is int64 (num_labels,), how often each label occurred."""

    image_id: int
    role: Role
    block: int
    draws: int
    counts: np.ndarray
    invalid: int
    seconds: float

    @classmethod
    def of(cls, unit: WorkUnit, drawn: UnitCounts, place: int) -> "CountedBlock":
        """Number `place` of the unit's blocks, which share its seconds in proportion to their draws."""
        block = unit.blocks[place]
        seconds = drawn.seconds * block.draws / unit.draws
        counts, invalid = drawn.counts[place], int(drawn.invalid[place])
        return cls(block.image_id, unit.role, block.index, block.draws, counts, invalid, seconds)


@dataclass
class _Batch:
    """Rows that wait to be written, and the name of the one file that will hold them."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)


class RunStore:
    """The files of one run: opens them (creating missing ones), knows the finished images, and appends.

    Raises RaysmoothError if another process writes the run, or if its folders hold a part that is corrupt or not this
    run's.
    """

    def __init__(self, out: Where, folder: str, schema: pa.Schema, manifest: dict[str, Any]) -> None:
        self.run_id: str = manifest["run_id"]
        self.num_classes: int = manifest["num_classes"]
        self.manifest = manifest
        self._run = RunFolder.of(out, self.run_id)
        self.counts_folder = self._run.counts
        self._parts = {"counts": (self.counts_folder, COUNTS_SCHEMA), folder: (self._run.rows(folder), schema)}
        self._rows_kind = folder
        self._limits = CountLimits.of(manifest["identity"], self.num_classes or 0)
        self.session, self._batches = uuid.uuid4().hex[:8], 0
        self._waiting = {kind: self._new_batch() for kind in self._parts}
        self._opened = monotonic()
        self._due = self._opened + FLUSH_SECONDS
        for path, _ in self._parts.values():
            _refuse_file(path)
        with _full_is_refused(self._run.home):
            for path, _ in self._parts.values():
                path.make_folder()
            self._lock = lock_run(self._run.home)
        try:
            self._settle_manifest(manifest)
            for path, _ in self._parts.values():
                sweep_unfinished(path)
            self._earlier_rows = self._read_rows()
            self.finished = set(self._earlier_rows["image_id"].tolist())
        except BaseException:
            self._lock.close()
            raise

    def unfinished_blocks(self) -> Iterator[CountedBlock]:
        """Blocks of earlier sessions for images that have no row yet. Raises RaysmoothError for counts that no run
        has, and, at the end, for earlier rows that do not follow from their counts.
        """
        sums, finished = CountSums(self._limits), pa.array(sorted(self.finished), pa.int64())
        for file, table in read_parts(list(self._own_parts("counts")), read_part):
            if (wrong := bad_block(table, self._limits)) is not None:
                raise foreign(file, wrong)
            have_rows = pc.is_in(table["image_id"], finished)
            sums.add(table.filter(have_rows))
            for row in table.filter(pc.invert(have_rows)).to_pylist():
                labels, counts = row.pop("labels"), np.zeros(self._limits.num_labels, np.int64)
                counts[labels] = row["counts"]
                yield CountedBlock(**{**row, "role": Role[row["role"].upper()], "counts": counts})
        if (wrong := sums.contradiction(self._earlier_rows)) is not None:
            raise foreign(self._parts[self._rows_kind][0], wrong)

    def add_block(self, block: CountedBlock) -> None:
        labels = np.flatnonzero(block.counts)
        counts = block.counts[labels].tolist()
        row = {**vars(block), "role": block.role.name.lower(), "labels": labels.tolist(), "counts": counts}
        self._waiting["counts"].rows.append(row)

    def add_row(self, row: dict[str, Any]) -> None:
        self._waiting[self._rows_kind].rows.append(row)
        self.finished.add(row["image_id"])

    def amend(self, **facts: Any) -> None:
        """Rewrite the manifest with `facts` added, which become known during the run and affect no row."""
        self.manifest |= facts
        self._lock.verify()
        with _full_is_refused(self._run.home):
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
        """Write waiting rows: counts first, so that every row on disk has its counts on disk. Raises RaysmoothError if
        they cannot be written, or another process has taken the run over; Unreachable unless `patiently`.
        """
        if any(batch.rows for batch in self._waiting.values()):
            self._lock.verify(patiently)
        for kind, (folder, schema) in self._parts.items():
            if (batch := self._waiting[kind]).rows:
                table = pa.Table.from_pylist(batch.rows, schema)
                with _full_is_refused(folder):
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

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _new_batch(self) -> _Batch:
        self._batches += 1
        return _Batch(part_name(self.session, self._batches))

    def _read_rows(self) -> pd.DataFrame:
        """The rows of earlier sessions. Raises RaysmoothError for one that this run cannot have."""
        facts = row_facts(self.manifest)
        finished: set[int] = set()
        found = []
        for file, table in read_parts(list(self._own_parts(self._rows_kind)), read_part):
            if (wrong := bad_row(table, facts, self.num_classes)) is not None:
                raise foreign(file, wrong)
            images = table["image_id"].to_pylist()
            if len(finished | set(images)) < len(finished) + len(images):
                raise foreign(file, "holds images that another part holds too, as a copy would")
            finished.update(images)
            kept = [name for name in _COMPARED if name in table.column_names]
            found.append(table.select(kept).to_pandas())
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame({"image_id": []})

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
def _full_is_refused(where: Location) -> Iterator[None]:
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
