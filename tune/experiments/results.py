"""The result of a stage run, and the note on disk that says it is done."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.object_store import notify
from raysmooth.storage.records import BadRecord, Count, Name, PathText, Record, RunId, Sha256, read_record

NOTES = "stages"
"""The folder of the notes, below the experiment's folder."""


@dataclass(frozen=True)
class Result:
    """The result of a stage run; paths are relative to the experiment's folder.

    `weights` are those of a network of `architecture`; `folder` is that of a sweep. `runs` are runs of certify or
    predict with their numbers of rows, which are in the folder `rows_in`. `digest` identifies the result for the stage
    runs that use it; `files` are SHA-256s, in hex, of the files that belong to it.
    """

    digest: str
    weights: str | None = None
    architecture: str | None = None
    folder: str | None = None
    rows_in: str | None = None
    runs: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def is_complete(self, out: Path) -> bool:
        """Whether all of it is on disk, unchanged."""
        files = all((out / path).is_file() and file_hash(out / path) == known for path, known in self.files.items())
        return files and all(count_rows(out, str(self.rows_in), run_id) == rows for run_id, rows in self.runs.items())


def _inside(path: str) -> str:
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts or "\0" in path:
        raise ValueError("a path below the experiment's folder")
    return path


_Inside = Annotated[PathText, AfterValidator(_inside)]


class _ResultRecord(Record):
    """A result as it stands in the note."""

    digest: Name
    weights: _Inside | None = None
    architecture: Name | None = None
    folder: _Inside | None = None
    rows_in: _Inside | None = None
    runs: dict[RunId, Count] = Field(default_factory=dict)
    files: dict[_Inside, Sha256] = Field(default_factory=dict)


class _Note(Record):
    hash: Name
    result: _ResultRecord


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_rows(out: Path, folder: str, run_id: str) -> int:
    """The number of rows of a run on disk; -1 if one of its parts cannot be read."""
    import pyarrow.parquet as pq

    from raysmooth.pipeline.store.parts import part_files

    try:
        parts = part_files(RunFolder.of(out, run_id).rows(folder))
        return sum(pq.read_metadata(part.local).num_rows for part in parts)
    except (OSError, ValueError):
        return -1


def read_note(out: Path, name: str) -> tuple[str, Result] | None:
    """The identity that a stage run had when it was done, and its result; None without a note. Of a note that none
    can be, standard error is informed: the stage is run again.
    """
    try:
        note = read_record(_Note, out / NOTES / f"{name}.json")
    except FileNotFoundError:
        return None
    except BadRecord as bad:
        notify(f"{bad}: it says nothing of stage {printable(name)}")
        return None
    return note.hash, Result(**{field: getattr(note.result, field) for field in _ResultRecord.model_fields})


def write_note(out: Path, name: str, identity: str, values: Mapping[str, Any], result: Result) -> None:
    """Note that a stage run is done; its settings `values` are for people who read the note."""
    file = out / NOTES / f"{name}.json"
    note = {"hash": identity, "settings": dict(values), "result": asdict(result)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            partial.write_text(json.dumps(note, indent=1))
    except OSError as error:
        raise RaysmoothError(f"{file} cannot be written: {error.strerror or error}: write another --out") from error
