"""What a stage of an experiment gives, and the note on disk by which it is found done."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.pipeline.store.parts import part_files
from raysmooth.storage.atomic_file import atomic_file

NOTES = "stages"
"""The folder of the notes, below an experiment's own."""


@dataclass(frozen=True)
class Task:
    """A job that is ready: `settings` are checked, with paths in the place of references."""

    name: str
    settings: BaseModel


@dataclass(frozen=True)
class Scene:
    """What a stage must know of where it plays: the results' folder, the Ray cluster, whether to show progress."""

    out: Path
    address: str | None
    show: bool


@dataclass(frozen=True)
class Result:
    """What a stage has given; paths are below the experiment's folder.

    `weights` is its artefact, of `architecture`; `folder` that of a sweep. `runs` are its runs of certify or predict,
    each with its number of rows, which lie in `rows_in`. `digest` is what later stages are decided by, `files` are
    SHA-256s in hex of what must still be there.
    """

    digest: str
    weights: str | None = None
    architecture: str | None = None
    folder: str | None = None
    rows_in: str | None = None
    runs: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def is_there(self, out: Path) -> bool:
        """Whether all of it is still on disk, as it was."""
        files = all((out / path).is_file() and file_hash(out / path) == known for path, known in self.files.items())
        return files and all(count_rows(out, str(self.rows_in), run_id) == rows for run_id, rows in self.runs.items())


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_rows(out: Path, folder: str, run_id: str) -> int:
    """How many rows a run has on disk; -1 where one of its parts cannot be read."""
    try:
        parts = part_files(RunFolder.of(out, run_id).rows(folder))
        return sum(pq.read_metadata(part.local).num_rows for part in parts)
    except (OSError, ValueError):
        return -1


def read_note(out: Path, name: str) -> tuple[str, Result] | None:
    """The hash of all that decided a job when it was done, and what it gave; None where it was not."""
    try:
        told = json.loads((out / NOTES / f"{name}.json").read_text())
        return str(told["hash"]), Result(**told["result"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_note(out: Path, name: str, decided_by: str, values: Mapping[str, Any], result: Result) -> None:
    """Note that a job is done; `values`, its settings, are for the reader."""
    file = out / NOTES / f"{name}.json"
    told = {"hash": decided_by, "settings": dict(values), "result": asdict(result)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            partial.write_text(json.dumps(told, indent=1))
    except OSError as error:
        raise RaysmoothError(f"{file} cannot be written: {error.strerror or error}: write another --out") from error
