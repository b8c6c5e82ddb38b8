"""Certificates on disk: all runs of a results folder as one data frame."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from raysmooth.common.errors import RaysmoothError, named_image, one_line, printable, stored_text
from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.metrics import samplings
from raysmooth.pipeline.analysis.run_facts import DERIVED, SETTINGS
from raysmooth.pipeline.store.manifest import CERTIFICATES, PREDICTIONS, SIGMAS, ManifestError, RunFolder, read_manifest
from raysmooth.pipeline.store.parts import content_of, part_files, read_parts
from raysmooth.pipeline.store.row_checks import bad_row
from raysmooth.pipeline.store.row_columns import TEXTS
from raysmooth.storage.location import Location, Where, located

_NEEDED = {*SETTINGS, "image_id", "abstain", "correct", "radius", "status"} - {*DERIVED}


_NUMBERS = ("sigma", "n0", "n", "alpha", "images")


class _Part(NamedTuple):
    """`where` is its path or URL; `rows` are not read yet."""

    where: str
    rows: ds.Fragment


def read_certificates(results: Where) -> pd.DataFrame:
    """All rows below `<results>/certificates`, one per image and run, with the column run_id (str).

    Rows older than the columns `sampling` and `source` get them: sampled `FIXED`, by their own run. Files and folders
    whose names begin with "." or "_" are ignored. Raises RaysmoothError, naming the file, for a file that is corrupt or
    does not hold a run's certificates; also if there are no rows, or two of the same image.
    """
    folder = located(results) / CERTIFICATES
    if not folder.is_folder():
        if (located(results) / SIGMAS).is_folder():
            raise RaysmoothError(
                f"{results} holds only noise levels, found by optimize-sigma: 'raysmooth certify --sigmas RUN' "
                "certifies at them"
            )
        if (located(results) / PREDICTIONS).is_folder():
            raise RaysmoothError(f"{results} holds only predictions: give the results of 'raysmooth certify'")
        if folder.exists():
            raise RaysmoothError(f"{folder} is a file, not a folder of certificates: fetch the results again")
        raise RaysmoothError(f"there is no {folder}: give the results folder (--out) of 'raysmooth certify'")
    run_id = pa.schema([("run_id", pa.string())])
    # Without these schemas pyarrow would open one part at once, and not name it if it is corrupt, and would read a
    # run id of digits as a number.
    layout = ds.partitioning(run_id, flavor="hive")
    parts, schema = _parts(folder, layout), run_id
    for part in parts:
        schema = _widened(schema, part)
    try:
        fragments = [part.rows for part in parts]
        files = folder.filesystem if folder.is_local else None
        rows = ds.FileSystemDataset(fragments, schema, _parquet(), files).to_table()
    except (pa.ArrowException, OSError):  # the error does not name the part
        rows = pa.concat_tables(_read(part, schema) for part in parts)
    if rows.num_rows == 0:
        raise RaysmoothError(f"{folder} has no rows yet: let 'raysmooth certify' finish an image, then try again")
    _refuse_bad_rows(located(results), rows, parts, schema)
    frame = _readable(rows.to_pandas())
    if (again := frame.duplicated(["run_id", "image_id"])).any():
        first = frame[again].iloc[0]
        rows_of = RunFolder.of(results, first["run_id"]).rows(CERTIFICATES)
        image = named_image(first["image_id"], text_of(first.get("file")))
        raise RaysmoothError(f"{rows_of} has two rows of {image}: move the copied part away")
    return frame.assign(sampling=samplings(frame), source=frame.get("source"))


def _refuse_bad_rows(results: Location, rows: pa.Table, parts: Sequence[_Part], schema: pa.Schema) -> None:
    """Raises RaysmoothError, naming the file, for rows that no run can have: edited, or of two runs in one folder."""
    runs = rows["run_id"].combine_chunks().dictionary_encode()
    codes = runs.indices.to_numpy()
    ends = [*(np.flatnonzero(np.diff(codes)) + 1), len(codes)]
    for begin, end in pairwise([0, *ends]):
        run = runs.dictionary[codes[begin]].as_py()
        known = _of_manifest(results, run)
        wrong = bad_row(rows.slice(begin, end - begin), *known)
        if wrong is None:
            continue
        for part in parts:
            keys = ds.get_partition_keys(part.rows.partition_expression)
            if keys["run_id"] == run and (of_part := bad_row(_read(part, schema), *known)) is not None:
                raise _foreign(part, of_part)
        raise RaysmoothError(f"the certificates of run {printable(run)}: {wrong}: move its folder away, then try again")


def _of_manifest(results: Location, run: str) -> tuple[dict[str, Any], int | None]:
    """Numbers that all rows of a run have, and its number of classes, by its manifest; nothing where that is missing,
    cannot be used, or would take another request to a bucket.
    """
    if not results.is_local:
        return {}, None
    try:
        manifest = read_manifest(RunFolder.of(results, run), "identity")
    except ManifestError:
        return {}, None
    facts = {name: value for name, value in manifest.identity.items() if name in _NUMBERS and value is not None}
    return facts, manifest.get("num_classes")


def _parquet() -> ds.ParquetFileFormat:
    """Pages whose bytes are not those that were written are refused: a flipped bit is another radius."""
    return ds.ParquetFileFormat(
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    )


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with every text fit for a line of a terminal, a table and a page: results may be those of others. Names
    of images and classes stay whole; where they are printed, they are shortened.
    """
    for column in frame.select_dtypes(["object", "string"]):
        texts, cleaned = frame[column].dropna().unique(), stored_text if column in TEXTS else printable
        odd = {text: clean for text in texts if isinstance(text, str) and (clean := cleaned(text)) != text}
        if odd:
            frame[column] = frame[column].replace(odd)
    return frame


def _parts(folder: Location, layout: ds.Partitioning) -> list[_Part]:
    form, parts = _parquet(), []
    # Objects in one request each, many at a time, and tried again where the store is away.
    for file, content in read_parts(part_files(folder, recursive=True), content_of):
        where = layout.parse("/".join(file.below(folder)))
        source = (file.path, folder.filesystem) if folder.is_local else (content,)
        parts.append(_Part(str(file), form.make_fragment(*source, partition_expression=where)))
    return parts


def _widened(schema: pa.Schema, part: _Part) -> pa.Schema:
    """`schema` with the part's columns (a column that is all null in a part may have no type there)."""
    try:
        own = part.rows.physical_schema
        if missing := sorted(_NEEDED - set(own.names)):
            raise _foreign(part, f"does not hold a run's certificates: it lacks {', '.join(missing)}")
        if "run_id" not in ds.get_partition_keys(part.rows.partition_expression):
            raise _foreign(part, "lies outside the run_id=... folders")
        return pa.unify_schemas([schema, own], promote_options="permissive")
    except PermissionError:
        raise _foreign(part, "cannot be read (permission denied)") from None
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"is corrupt or not a Parquet file ({one_line(error)})") from None


def _read(part: _Part, schema: pa.Schema) -> pa.Table:
    try:
        return part.rows.to_table(schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"cannot be read ({one_line(error)})") from None


def _foreign(part: _Part, what: str) -> RaysmoothError:
    return RaysmoothError(f"{part.where} {what}: move it out of the certificates folder, then try again")
