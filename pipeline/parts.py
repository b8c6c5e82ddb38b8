"""Part files: Parquet that appears whole or not at all, says whose it is, and is not believed where it is damaged."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from actors.refusal import Refusal

_ORIGIN = b"raysmooth"
"""Key of a part's Parquet metadata under which it says which run and which kind of part it is."""


def write_part(path: Path, table: pa.Table, origin: dict[str, Any]) -> None:
    """Write `table` to `path`, with checksums, under a temporary name until it is whole and on the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        metadata = {_ORIGIN: json.dumps(origin).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), file, write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def sweep_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while writing has left: files of ours that never became parts."""
    for leftover in folder.glob(".part-*.tmp"):
        leftover.unlink()


def read_part(file: Path, columns: list[str] | None = None) -> pa.Table:
    """The part's rows; raises Refusal, naming the file, where its pages are torn or damaged."""
    with _torn_is_refused(file):
        return pq.ParquetFile(file, page_checksum_verification=True).read(columns=columns)


def own_parts(folder: Path, schema: pa.Schema, origin: dict[str, Any]) -> Iterator[Path]:
    """The parts in `folder`, in the order of their names; raises Refusal for one of another origin or schema.

    Names that begin with "." or "_" are no parts, as for every reader of Parquet folders.
    """
    for file in sorted(folder.iterdir()):
        if file.name.startswith((".", "_")):
            continue
        found, theirs = _schema_and_origin(file)
        if theirs != origin:
            raise foreign(file, "was not written by this run")
        if not found.equals(schema):
            raise foreign(file, "has other columns than this version of raysmooth writes")
        yield file


def refuse_foreign_parts(out: str | Path, folder: str) -> None:
    """Raises Refusal for a file below <out>/<folder> that is torn, or that raysmooth did not write: a reader of the
    whole folder would stumble over it after all the work.
    """
    for file in sorted((Path(out) / folder).rglob("*")):
        if not file.is_file() or any(part.startswith((".", "_")) for part in file.relative_to(out).parts):
            continue
        if _schema_and_origin(file)[1] is None:
            raise foreign(file, "was not written by raysmooth")


def read_rows(out: str | Path, folder: str, run_id: str) -> pd.DataFrame:
    """The rows of one run, in the order of images, with a column run_id."""
    parts = [read_part(file) for file in sorted((Path(out) / folder / f"run_id={run_id}").glob("[!._]*.parquet"))]
    rows = pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame()
    rows = rows.sort_values("image_id", ignore_index=True) if parts else rows
    return rows.assign(run_id=run_id)


def foreign(file: Path, what: str) -> Refusal:
    """The refusal of a part that is not what it should be."""
    return Refusal(f"{file} {what}: move it out of that folder and run the command again (what it held is drawn again)")


def _schema_and_origin(file: Path) -> tuple[pa.Schema, dict[str, Any] | None]:
    with _torn_is_refused(file):
        schema = pq.read_schema(file)
        origin = (schema.metadata or {}).get(_ORIGIN)
        return schema, json.loads(origin) if origin is not None else None


@contextmanager
def _torn_is_refused(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise foreign(file, f"is torn or not Parquet ({' '.join(str(error).split())})") from None
