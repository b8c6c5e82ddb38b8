"""Certificates on disk, every run of a folder, as one frame."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from actors.refusal import Refusal
from pipeline.metrics import samplings
from pipeline.wording import SETTINGS

_NEEDED = {*SETTINGS, "image_id", "abstain", "correct", "radius", "status"} - {"sampling", "bound"}


def read_certificates(out: str | Path) -> pd.DataFrame:
    """All rows under `<out>/certificates`, one an image of a run, with the column run_id (str).

    Rows that are older than the columns `sampling` and `source` get them: they were sampled `FIXED`, by their own run.
    Files and folders whose names begin with "." or "_" are ignored. Raises Refusal, naming the file, for one
    that is torn or not a part of a run's certificates; also if there are no rows, or two of the same image.
    """
    folder = Path(out) / "certificates"
    if not folder.is_dir():
        if (Path(out) / "predictions").is_dir():
            raise Refusal(f"{out} holds only predictions: report needs what 'raysmooth certify' writes")
        raise Refusal(f"there is no {folder}: give the results folder (--out) of 'raysmooth certify'")
    run_id = pa.schema([("run_id", pa.string())])
    # Left to itself pyarrow opens one part at once, unnamed if it is torn, and takes a run id of digits for a
    # number: so both schemas are given.
    layout = ds.partitioning(run_id, flavor="hive")
    found = ds.dataset(folder, schema=run_id, format="parquet", partitioning=layout)
    parts, schema = list(found.get_fragments()), run_id
    for part in parts:
        schema = _widened(schema, part)
    try:
        rows = ds.FileSystemDataset(parts, schema, found.format, found.filesystem).to_table()
    except (pa.ArrowException, OSError):  # which does not say of which part
        rows = pa.concat_tables(_read(part, schema) for part in parts)
    if rows.num_rows == 0:
        raise Refusal(f"{folder} has no rows yet: let 'raysmooth certify' finish an image, then report again")
    frame = rows.to_pandas()
    if (again := frame.duplicated(["run_id", "image_id"])).any():
        run, image = frame.loc[again, ["run_id", "image_id"]].iloc[0]
        raise Refusal(f"{folder / f'run_id={run}'} has two rows of image {image}: move the copied part away")
    return frame.assign(sampling=samplings(frame), source=frame.get("source"))


def _widened(schema: pa.Schema, part: ds.Fragment) -> pa.Schema:
    """`schema` with the part's columns (one that is all null in a part may have no type there)."""
    try:
        own = part.physical_schema
        if missing := sorted(_NEEDED - set(own.names)):
            raise _foreign(part, f"is no part of a run's certificates: it lacks {', '.join(missing)}")
        if "run_id" not in ds.get_partition_keys(part.partition_expression):
            raise _foreign(part, "lies outside the run_id=... folders")
        return pa.unify_schemas([schema, own], promote_options="permissive")
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"is torn or foreign ({_first_line(error)})") from None


def _read(part: ds.Fragment, schema: pa.Schema) -> pa.Table:
    try:
        return part.to_table(schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"cannot be read ({_first_line(error)})") from None


def _foreign(part: ds.Fragment, what: str) -> Refusal:
    return Refusal(f"{part.path} {what}: move it out of the certificates, then report again")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
