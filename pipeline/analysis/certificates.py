"""Certificates on disk, every run of a folder, as one frame."""

from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.analysis.metrics import samplings
from raysmooth.pipeline.analysis.run_facts import SETTINGS
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.pipeline.store.parts import content_of, part_files, read_parts
from raysmooth.storage.location import Location, Where, located

_NEEDED = {*SETTINGS, "image_id", "abstain", "correct", "radius", "status"} - {"sampling", "bound"}


class _Part(NamedTuple):
    """`where` it is; `rows`, not read yet."""

    where: str
    rows: ds.Fragment


def read_certificates(out: Where) -> pd.DataFrame:
    """All rows under `<out>/certificates`, one an image of a run, with the column run_id (str).

    Rows that are older than the columns `sampling` and `source` get them: they were sampled `FIXED`, by their own run.
    Files and folders whose names begin with "." or "_" are ignored. Raises RaysmoothError, naming the file, for one
    that is torn or not a part of a run's certificates; also if there are no rows, or two of the same image.
    """
    folder = located(out) / "certificates"
    if not folder.is_folder():
        if (located(out) / "predictions").is_folder():
            raise RaysmoothError(f"{out} holds only predictions: report needs what 'raysmooth certify' writes")
        raise RaysmoothError(f"there is no {folder}: give the results folder (--out) of 'raysmooth certify'")
    run_id = pa.schema([("run_id", pa.string())])
    # Left to itself pyarrow opens one part at once, unnamed if it is torn, and takes a run id of digits for a
    # number: so both schemas are given.
    layout = ds.partitioning(run_id, flavor="hive")
    parts, schema = _parts(folder, layout), run_id
    for part in parts:
        schema = _widened(schema, part)
    try:
        fragments = [part.rows for part in parts]
        files = folder.filesystem if folder.is_local else None
        rows = ds.FileSystemDataset(fragments, schema, ds.ParquetFileFormat(), files).to_table()
    except (pa.ArrowException, OSError):  # which does not say of which part
        rows = pa.concat_tables(_read(part, schema) for part in parts)
    if rows.num_rows == 0:
        raise RaysmoothError(f"{folder} has no rows yet: let 'raysmooth certify' finish an image, then report again")
    frame = rows.to_pandas()
    if (again := frame.duplicated(["run_id", "image_id"])).any():
        run, image = frame.loc[again, ["run_id", "image_id"]].iloc[0]
        rows_of = RunFolder.of(out, run).rows("certificates")
        raise RaysmoothError(f"{rows_of} has two rows of image {image}: move the copied part away")
    return frame.assign(sampling=samplings(frame), source=frame.get("source"))


def _parts(folder: Location, layout: ds.Partitioning) -> list[_Part]:
    form, parts = ds.ParquetFileFormat(), []
    # Objects in one request each, many at a time, and tried again where the store is away.
    for file, content in read_parts(part_files(folder, recursive=True), content_of):
        where = layout.parse("/".join(file.below(folder)))
        source = (file.path, folder.filesystem) if folder.is_local else (content,)
        parts.append(_Part(str(file), form.make_fragment(*source, partition_expression=where)))
    return parts


def _widened(schema: pa.Schema, part: _Part) -> pa.Schema:
    """`schema` with the part's columns (one that is all null in a part may have no type there)."""
    try:
        own = part.rows.physical_schema
        if missing := sorted(_NEEDED - set(own.names)):
            raise _foreign(part, f"is no part of a run's certificates: it lacks {', '.join(missing)}")
        if "run_id" not in ds.get_partition_keys(part.rows.partition_expression):
            raise _foreign(part, "lies outside the run_id=... folders")
        return pa.unify_schemas([schema, own], promote_options="permissive")
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"is torn or foreign ({one_line(error)})") from None


def _read(part: _Part, schema: pa.Schema) -> pa.Table:
    try:
        return part.rows.to_table(schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"cannot be read ({one_line(error)})") from None


def _foreign(part: _Part, what: str) -> RaysmoothError:
    return RaysmoothError(f"{part.where} {what}: move it out of the certificates, then report again")
