"""Part files: Parquet that appears whole or not at all, names its run, and is not used if it is damaged."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.storage.atomic_file import leftovers
from raysmooth.storage.location import Location, Where, located

Read = TypeVar("Read")

READERS = 16
"""Number of parts that are read from an object store at the same time, as each has a latency."""

_ORDER = ("image_id", "step")
"""Columns by which rows are sorted; only those of a search have steps."""

_ORIGIN = b"raysmooth"
"""Key in a part's Parquet metadata that holds its run and its kind."""


def part_files(folder: Location, recursive: bool = False) -> list[Location]:
    """The parts in `folder`, or in all folders below it too, in the order of their names.

    A part is every file whose name, and names of folders below `folder`, do not begin with "." or "_". That is the rule
    of pyarrow, pandas and Spark for Parquet folders, whatever the file's extension.
    """
    files = folder.files(recursive)
    return [file for file in files if not any(name.startswith((".", "_")) for name in file.below(folder))]


def part_name(session: str, number: int) -> str:
    """The name of a part that the session `session` of a driver writes."""
    return f"part-{session}-{number:05d}.parquet"


def session_of(part: Location) -> str | None:
    """The session that wrote a part, by its name; None for a name that `part_name` does not give."""
    name = part.name
    return name.split("-")[1] if name.startswith("part-") and name.endswith(".parquet") else None


def write_part(
    file: Location, table: pa.Table, origin: dict[str, Any], patiently: bool = True, group: int | None = None
) -> None:
    """Write `table` to `file`, with checksums: whole and on the disk, or not at all. `group`: rows that can be read
    without the others. Raises as `write_atomic` does.
    """
    metadata = {_ORIGIN: json.dumps(origin).encode()}
    buffer = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), buffer, group, write_page_checksum=True)
    file.write_atomic(buffer.getvalue().to_pybytes(), patiently=patiently)


def sweep_unfinished(folder: Location) -> None:
    """Remove the temporary files of killed writers. An object store has none: uploads are atomic."""
    if folder.is_local:
        for leftover in leftovers(folder.local, "part-*"):
            leftover.unlink()


def read_part(file: Location, columns: list[str] | None = None) -> pa.Table:
    """The part's rows; raises RaysmoothError, naming the file, if its pages are damaged, or it has a column twice."""
    with _corrupt_is_refused(file):
        table = pq.ParquetFile(content_of(file), page_checksum_verification=True).read(columns=columns)
    if twice := next((name for name in table.column_names if table.column_names.count(name) > 1), None):
        raise foreign(file, f"has two columns {printable(twice)}")
    return table


def read_parts(files: Sequence[Location], read: Callable[[Location], Read]) -> Iterator[tuple[Location, Read]]:
    """Each of `files` with the result of `read`, in their order; several at a time from an object store."""
    if len(files) < 2 or files[0].is_local:
        yield from ((file, read(file)) for file in files)
        return
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(files), READERS):  # so that no more of them are in memory
            some = files[start : start + READERS]
            yield from zip(some, readers.map(read, some), strict=True)


def own_parts(
    folder: Location, schema: pa.Schema, origin: dict[str, Any], later: Collection[str] = ()
) -> Iterator[Location]:
    """The parts in `folder`, in the order of their names; raises RaysmoothError for one of another origin or schema.
    The parts of earlier versions lack columns of `later`, and may have the others in another order.
    """
    needed, known = {field.name for field in schema} - set(later), dict(zip(schema.names, schema.types, strict=True))
    for file, (found, theirs) in read_parts(part_files(folder), _schema_and_origin):
        if theirs != origin:
            raise foreign(file, "was not written by this run")
        if not needed.issubset(found.names) or any(known.get(field.name) != field.type for field in found):
            raise foreign(file, "has other columns than this version of raysmooth writes")
        yield file


def refuse_foreign_parts(out: Where, folder: str) -> None:
    """Raises RaysmoothError for a file below <out>/<folder> that is corrupt, or that raysmooth did not write: readers
    of the whole folder would fail after all the work.
    """
    files = part_files(located(out) / folder, recursive=True)
    for file, (_, origin) in read_parts(files, _schema_and_origin):
        if origin is None:
            raise foreign(file, "was not written by raysmooth")


def read_rows(
    out: Where, folder: str, run_id: str, problem_with: Callable[[pa.Table], str | None] | None = None
) -> pd.DataFrame:
    """The rows of one run, in the order of images and steps, with a column run_id. Raises RaysmoothError for a part
    that `problem_with` finds fault with, and, if that is given, for an image that is there twice.
    """
    files = part_files(RunFolder.of(out, run_id).rows(folder))
    parts, seen = [], set[int]()
    for file, table in read_parts(files, read_part):
        if problem_with is not None:
            if (wrong := problem_with(table)) is not None:
                raise foreign(file, wrong)
            images = table["image_id"].to_pylist()
            if len(seen | {*images}) < len(seen) + len(images):
                raise foreign(file, "holds images that another part holds too, as a copy would")
            seen.update(images)
        parts.append(table)
    try:  # Parts of earlier versions may lack columns, which are null then.
        rows = pa.concat_tables(parts, promote_options="default").to_pandas() if parts else pd.DataFrame()
    except pa.ArrowException as error:
        raise RaysmoothError(
            f"{RunFolder.of(out, run_id).rows(folder)} has parts whose columns differ in type ({one_line(error)}): "
            "move the part that is not this run's away"
        ) from None
    rows = rows.sort_values([name for name in _ORDER if name in rows], ignore_index=True) if parts else rows
    return rows.assign(run_id=run_id)


def count_images(out: Where, folder: str, run_id: str) -> int:
    """How many images the rows of a run are of: a search has several rows for an image."""
    files = part_files(RunFolder.of(out, run_id).rows(folder))
    found: set[int] = set()
    for _, table in read_parts(files, lambda file: read_part(file, ["image_id"])):
        found.update(table["image_id"].to_pylist())
    return len(found)


def content_of(file: Location) -> Path | pa.BufferReader:
    """The source for a Parquet reader: the file, or a whole object, which takes one request instead of many."""
    return file.local if file.is_local else pa.BufferReader(file.read_bytes())


def foreign(file: Location, reason: str) -> RaysmoothError:
    """The refusal of a part that is not one of the run's."""
    return RaysmoothError(
        f"{file} {reason}: move it out of that folder and run the command again (its rows will be drawn again)"
    )


def _schema_and_origin(file: Location) -> tuple[pa.Schema, dict[str, Any] | None]:
    with _corrupt_is_refused(file):
        schema = pq.read_schema(content_of(file))
        origin = (schema.metadata or {}).get(_ORIGIN)
    try:
        return schema, json.loads(origin) if origin is not None else None
    except (ValueError, RecursionError):
        raise foreign(file, "names no run that wrote it") from None


@contextmanager
def _corrupt_is_refused(file: Location) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise foreign(file, "cannot be read (permission denied)") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise foreign(file, f"is corrupt or not a Parquet file ({one_line(error, whole=True)})") from None
