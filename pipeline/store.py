"""What a run leaves on disk, so that nothing finished is ever lost or counted twice.

Rules: every part file is written under a temporary name and renamed when whole; no file is written twice; one process
at a time writes a run; counts reach the disk before the rows that are concluded from them; a part that this run did
not write is never believed and never touched.
"""

import fcntl
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from actors.refusal import Refusal
from actors.whole_file import written_whole
from actors.work_unit import Role, UnitCounts, WorkUnit
from pipeline.beat import FILE, Beat, last_beat
from pipeline.parts import foreign, own_parts, read_part, sweep_unfinished, write_part

COUNTS_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("role", pa.string()),
        ("block", pa.int32()),
        ("draws", pa.int32()),
        # Sparse: the labels that were given, and how often each.
        ("labels", pa.list_(pa.int32())),
        ("counts", pa.list_(pa.int32())),
        ("invalid", pa.int32()),
        ("seconds", pa.float64()),
    ]
)

FLUSH_SECONDS, FLUSH_SHARE = 5.0, 0.01
"""What waits is written at most every 5 seconds and, in a long run, every hundredth of its age: a week leaves some
hundreds of files, not a hundred thousand, and a kill costs at most 1 % of the work.
"""


@dataclass(frozen=True)
class CountedBlock:
    """One row of counts: one block of one image. `counts` is int64 (num_classes,), how often each label was given."""

    image_id: int
    role: Role
    block: int
    draws: int
    counts: np.ndarray
    invalid: int
    seconds: float

    @classmethod
    def of(cls, unit: WorkUnit, drawn: UnitCounts, place: int) -> "CountedBlock":
        """The block of the unit's cell number `place`; cells share the unit's seconds by their draws."""
        cell = unit.cells[place]
        seconds = drawn.seconds * cell.draws / unit.draws
        counts, invalid = drawn.counts[place], int(drawn.invalid[place])
        return cls(cell.image_id, unit.role, cell.block, cell.draws, counts, invalid, seconds)


@dataclass
class _Batch:
    """Rows that wait to be written, and the name of the one file that will hold them."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)


class RunStore:
    """The files of one run: opens them (creating what is missing), knows what is finished, and appends.

    Raises Refusal if another process writes the run, or if its folders hold a part that is torn or not this run's.
    """

    def __init__(self, out: str | Path, folder: str, schema: pa.Schema, manifest: dict[str, Any]) -> None:
        self.run_id: str = manifest["run_id"]
        self.num_classes: int = manifest["num_classes"]
        self.manifest = manifest
        self.counts_folder = Path(out) / "runs" / self.run_id / "counts"
        self._home = Path(out) / "runs" / self.run_id
        self._parts = {
            "counts": (self.counts_folder, COUNTS_SCHEMA),
            folder: (Path(out) / folder / f"run_id={self.run_id}", schema),
        }
        self._rows_kind = folder
        self.session, self._batches = uuid.uuid4().hex[:8], 0
        self._waiting = {kind: self._new_batch() for kind in self._parts}
        self._opened = self._flushed = monotonic()
        for path, _ in self._parts.values():
            path.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        try:
            self._settle_manifest(manifest)
            for path, _ in self._parts.values():
                sweep_unfinished(path)
            self.finished = self._finished_images()
        except BaseException:
            self._lock.close()
            raise

    def unfinished_blocks(self) -> Iterator[CountedBlock]:
        """Blocks that an earlier session drew for images that have no row yet."""
        for file in self._own_parts("counts"):
            for row in read_part(file).to_pylist():
                if row["image_id"] not in self.finished:
                    labels, counts = row.pop("labels"), np.zeros(self.num_classes, np.int64)
                    counts[labels] = row["counts"]
                    yield CountedBlock(**{**row, "role": Role[row["role"].upper()], "counts": counts})

    def add_block(self, block: CountedBlock) -> None:
        labels = np.flatnonzero(block.counts)
        counts = block.counts[labels].tolist()
        row = {**vars(block), "role": block.role.name.lower(), "labels": labels.tolist(), "counts": counts}
        self._waiting["counts"].rows.append(row)

    def add_row(self, row: dict[str, Any]) -> None:
        self._waiting[self._rows_kind].rows.append(row)
        self.finished.add(row["image_id"])

    def amend(self, **facts: Any) -> None:
        """Write the manifest anew, with `facts` added: what only shows while the run goes on, and decides no row."""
        self.manifest |= facts
        with written_whole(self._home / "manifest.json") as path:
            path.write_text(json.dumps(self.manifest, indent=2) + "\n")

    def tell(self, beat: Beat) -> None:
        """Leave a sign of life, for whoever watches the run from elsewhere."""
        with written_whole(self._home / FILE) as path:
            path.write_text(beat.text())

    def last_beat(self) -> Beat | None:
        """The last sign of life, of this session or of one before."""
        found = last_beat(self._home)
        return found[0] if found is not None else None

    def flush_when_due(self) -> None:
        """Write what waits, if it is time."""
        now = monotonic()
        if now - self._flushed >= max(FLUSH_SECONDS, FLUSH_SHARE * (now - self._opened)):
            self.flush()

    def flush(self) -> None:
        """Write what waits: counts first, so that every row on disk has its counts on disk."""
        for kind, (folder, schema) in self._parts.items():
            if (batch := self._waiting[kind]).rows:
                write_part(folder / batch.name, pa.Table.from_pylist(batch.rows, schema), self._origin(kind))
                # An interrupt before this line makes the next flush write the same batch over its own file again.
                self._waiting[kind] = self._new_batch()
        self._flushed = monotonic()

    def close(self) -> None:
        """Flush and give the run free."""
        try:
            self.flush()
        finally:
            self._lock.close()

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new_batch(self) -> "_Batch":
        self._batches += 1
        return _Batch(f"part-{self.session}-{self._batches:05d}.parquet")

    def _finished_images(self) -> set[int]:
        finished: set[int] = set()
        for file in self._own_parts(self._rows_kind):
            images = read_part(file, columns=["image_id"])["image_id"].to_pylist()
            if len(finished | set(images)) < len(finished) + len(images):
                raise foreign(file, "holds images that another part holds too, as a copy would")
            finished.update(images)
        return finished

    def _own_parts(self, kind: str) -> Iterator[Path]:
        return own_parts(*self._parts[kind], self._origin(kind))

    def _origin(self, kind: str) -> dict[str, str]:
        return {"run_id": self.run_id, "kind": kind}

    def _settle_manifest(self, manifest: dict[str, Any]) -> None:
        path = self._home / "manifest.json"
        if path.exists():
            try:
                began = json.loads(path.read_text())
                known = began["identity"]
            except (ValueError, KeyError, TypeError):
                raise Refusal(f"{path} is not a raysmooth manifest: move it away and run the command again") from None
            if known != manifest["identity"]:
                raise Refusal(f"{path} describes another run: move the folder away, or write another --out")
            # The same tensors may have come with another card, say: all rows of a run say what it began with.
            self.manifest = began
            return
        self.amend()

    def _take_lock(self) -> Any:
        lock = open(self._home / ".lock", "a+")  # noqa: SIM115 -- held as long as the store is open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system drops it with the process, however that ends
        except OSError:
            lock.seek(0)
            writer = lock.read().strip() or "another process"
            lock.close()
            raise Refusal(
                f"run {self.run_id} in {self._home.parent.parent} is being written by {writer}: "
                "wait for it, stop it, or write another --out"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        return lock


def refuse_unwritable(out: str | Path) -> None:
    """Raises Refusal where <out> cannot be made or written to."""
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise Refusal(f"--out {out}: {error.strerror or error}: write a folder that can be written to") from None
