"""Part files: Parquet that appears whole or not at all, says whose it is, and is not believed where it is damaged."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.storage.atomic_file import leftovers
from raysmooth.storage.location import Location, Where, located

Read = TypeVar("Read")

READERS = 16
"""Parts that are read at once from an object store, where each costs a wait."""

_ORIGIN = b"raysmooth"
"""Key of a part's Parquet metadata under which it says which run and which kind of part it is."""


def write_part(file: Location, table: pa.Table, origin: dict[str, Any], patiently: bool = True) -> None:
    """Write `table` to `file`, with checksums: whole and on the disk, or not at all. Raises as `write_atomic` does."""
    metadata = {_ORIGIN: json.dumps(origin).encode()}
    buffer = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), buffer, write_page_checksum=True)
    file.write_atomic(buffer.getvalue().to_pybytes(), patiently=patiently)


def sweep_unfinished(folder: Location) -> None:
    """Remove the temporary files of killed writers. An object store has none: uploads are atomic."""
    if folder.is_local:
        for leftover in leftovers(folder.local, "part-*"):
            leftover.unlink()


def read_part(file: Location, columns: list[str] | None = None) -> pa.Table:
    """The part's rows; raises RaysmoothError, naming the file, where its pages are torn or damaged."""
    with _torn_is_refused(file):
        return pq.ParquetFile(content_of(file), page_checksum_verification=True).read(columns=columns)


def read_parts(files: Sequence[Location], read: Callable[[Location], Read]) -> Iterator[tuple[Location, Read]]:
    """Each of `files` with what `read` makes of it, in their order; several at a time from an object store."""
    if len(files) < 2 or files[0].is_local:
        yield from ((file, read(file)) for file in files)
        return
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(files), READERS):  # no more of them in memory than are read at once
            some = files[start : start + READERS]
            yield from zip(some, readers.map(read, some), strict=True)


def own_parts(folder: Location, schema: pa.Schema, origin: dict[str, Any]) -> Iterator[Location]:
    """The parts in `folder`, in the order of their names; raises RaysmoothError for one of another origin or schema.

    Names that begin with "." or "_" are no parts, as for every reader of Parquet folders.
    """
    files = [file for file in folder.files() if not file.name.startswith((".", "_"))]
    for file, (found, theirs) in read_parts(files, _schema_and_origin):
        if theirs != origin:
            raise foreign(file, "was not written by this run")
        if not found.equals(schema):
            raise foreign(file, "has other columns than this version of raysmooth writes")
        yield file


def refuse_foreign_parts(out: Where, folder: str) -> None:
    """Raises RaysmoothError for a file below <out>/<folder> that is torn, or that raysmooth did not write: a reader of the
    whole folder would stumble over it after all the work.
    """
    home = located(out)
    found = (home / folder).files(recursive=True)
    files = [file for file in found if not any(part.startswith((".", "_")) for part in file.below(home))]
    for file, (_, origin) in read_parts(files, _schema_and_origin):
        if origin is None:
            raise foreign(file, "was not written by raysmooth")


def read_rows(out: Where, folder: str, run_id: str) -> pd.DataFrame:
    """The rows of one run, in the order of images, with a column run_id."""
    found = (located(out) / folder / f"run_id={run_id}").files()
    files = [file for file in found if file.name.endswith(".parquet") and not file.name.startswith((".", "_"))]
    parts = [table for _, table in read_parts(files, read_part)]
    rows = pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame()
    rows = rows.sort_values("image_id", ignore_index=True) if parts else rows
    return rows.assign(run_id=run_id)


def content_of(file: Location) -> Path | pa.BufferReader:
    """What Parquet is read from: the file, or all of an object, in one request for its many small ones."""
    return file.local if file.is_local else pa.BufferReader(file.read_bytes())


def foreign(file: Location, what: str) -> RaysmoothError:
    """The refusal of a part that is not what it should be."""
    return RaysmoothError(
        f"{file} {what}: move it out of that folder and run the command again (what it held is drawn again)"
    )


def _schema_and_origin(file: Location) -> tuple[pa.Schema, dict[str, Any] | None]:
    with _torn_is_refused(file):
        schema = pq.read_schema(content_of(file))
        origin = (schema.metadata or {}).get(_ORIGIN)
        return schema, json.loads(origin) if origin is not None else None


@contextmanager
def _torn_is_refused(file: Location) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise foreign(file, f"is torn or not Parquet ({one_line(error, whole=True)})") from None
