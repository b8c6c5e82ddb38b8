"""From certificates on disk to the table and the figure of a paper."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from matplotlib import rc_context

from actors.refusal import Refusal
from pipeline.curves import draw_curves
from pipeline.metrics import (
    FIXED,
    abstention_rate,
    average_certified_radius,
    certified_accuracy,
    certified_share,
    decided_at,
    error_count,
    samplings,
    undecided_share,
)
from pipeline.tables import csv, latex, markdown
from pipeline.wording import LABELLED, SETTINGS, describe_runs

_NEEDED = {*SETTINGS, "image_id", "abstain", "correct", "radius", "status"} - {"sampling"}
_MOST_RADII, _FEWER_RADII = 7, 5
"""Radii in a default table: what fits, with the rest, into a terminal of 100 columns; fewer beside the columns for
runs that are not sampled `FIXED`.
"""


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
    parts = list(ds.dataset(folder, schema=run_id, format="parquet", partitioning=layout).get_fragments())
    schema = run_id
    for part in parts:
        schema = _widened(schema, part)
    rows = pa.concat_tables([run_id.empty_table(), *(_read(part, schema) for part in parts)], promote_options="default")
    if rows.num_rows == 0:
        raise Refusal(f"{folder} has no rows yet: let 'raysmooth certify' finish an image, then report again")
    frame = rows.to_pandas()
    if (again := frame.duplicated(["run_id", "image_id"])).any():
        run, image = frame.loc[again, ["run_id", "image_id"]].iloc[0]
        raise Refusal(f"{folder / f'run_id={run}'} has two rows of image {image}: move the copied part away")
    return frame.assign(sampling=samplings(frame), source=frame.get("source"))


def summarize(rows: pd.DataFrame, radii: Sequence[float] | None = None) -> pd.DataFrame:
    """One row a run, in full precision: what it is, and how well it does.

    Columns: run_id, those of `describe_runs`, `r=<radius>` for each of `radii` (shares in [0, 1]), `ACR`,
    `abstain` (share), `undecided` (share), `errors` (count). The r= columns are certified accuracies; or, where
    `measure` says that the run has no labels, shares certified right or wrong, and then ACR is NaN. Of a run that
    decides one radius, what it does not know is NaN: columns beyond that radius, ACR and abstain; of all others,
    `undecided` is.

    Default radii: 0, 0.25, ... up to the largest that any image reached, the step doubled until seven suffice (five
    if a run is not sampled `FIXED`), and the radii that runs decide; these alone if no run knows others. Raises
    Refusal if there are no rows, or if a radius is negative or not finite.
    """
    runs = describe_runs(rows)
    grid = sorted({float(r) for r in radii}) if radii is not None else _default_radii(rows)
    if wrong := [r for r in grid if not (isfinite(r) and r >= 0)]:
        raise Refusal(f"radius {wrong[0]} for the report: write finite numbers >= 0, such as 0,0.25,0.5")
    # Not :g, which would print 0.1234567 as the larger 0.123457.
    headings = [f"r={np.format_float_positional(r, trim='-')}" for r in grid]
    measured = []
    for run, measure in runs["measure"].items():
        own = rows[rows["run_id"] == run]
        shares = (certified_accuracy if measure == LABELLED else certified_share)(own, grid)
        rates = {
            "ACR": average_certified_radius(own),
            "abstain": abstention_rate(own),
            "undecided": undecided_share(own),
            "errors": error_count(own),
        }
        measured.append(dict(zip(headings, shares, strict=True)) | rates)
    return runs.join(pd.DataFrame(measured, runs.index)).reset_index()


def write_report(out: str | Path, radii: Sequence[float] | None = None, folder: str | Path | None = None) -> list[Path]:
    """Write table.md, table.tex, table.csv, curves.png and curves.pdf, over an earlier report's.

    They go into `folder`, by default `<out>/report`, which is made. Returns their paths. Raises Refusal as
    `read_certificates` and `summarize` do.
    """
    rows = read_certificates(out)
    summary, figure = summarize(rows, radii), draw_curves(rows)
    folder = Path(folder) if folder is not None else Path(out) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"table.md": markdown, "table.tex": latex, "table.csv": csv}
    for name, render in tables.items():
        (folder / name).write_text(render(summary), encoding="utf-8")
    with rc_context({"pdf.fonttype": 42}):  # publishers refuse matplotlib's default, Type 3
        for name in (drawings := ["curves.png", "curves.pdf"]):
            figure.savefig(folder / name, dpi=150)
    return [folder / name for name in [*tables, *drawings]]


def _default_radii(rows: pd.DataFrame) -> list[float]:
    sampling = samplings(rows)
    asked = sampling.map(decided_at)
    decided = {radius for radius in asked if isfinite(radius)}
    if np.isfinite(asked).all():
        return sorted(decided)
    reach, step = max([0.25, *rows.loc[~np.isfinite(asked), "radius"].dropna()]), 0.25
    most = _MOST_RADII if (sampling == FIXED).all() else _FEWER_RADII
    while len(grid := {step * i for i in range(int(reach // step) + 1)} | decided) > most and step <= reach:
        step *= 2
    return sorted(grid)


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
