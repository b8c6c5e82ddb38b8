"""`raysmooth show`: one image of a folder of results, found, looked at and drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import Field

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import Settings
from raysmooth.pipeline.analysis.run_facts import IMPORTED, RECERTIFIED, describe_runs
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.data.datasets import Dataset
from raysmooth.pipeline.pictures.image_figure import headings, plot_image
from raysmooth.pipeline.pictures.image_replay import replay
from raysmooth.pipeline.pictures.statement import statement
from raysmooth.pipeline.pictures.stored_run import StoredRun
from raysmooth.pipeline.report.figures.figure_file import figure_path, save_figure
from raysmooth.pipeline.report.report import read_certificates
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.storage.location import Location, Where, located

MOST_RUNS = 10
"""In one figure."""


class ShowSettings(Settings):
    """Show"""

    out: str = Field(description="Folder of results (--out of certify).")
    image_id: int = Field(description="The image, by its number in the data set.", ge=0)
    run: str | None = Field(None, description="Only this run: its id, or how that begins. Default: all of the image.")
    data_root: str | None = Field(None, description="Where the data set is now, if it has moved.")
    classifier_weights: str | None = Field(None, description="Where the classifier's weights are now.")
    denoiser_weights: str | None = Field(None, description="Where the denoiser's weights are now.")
    copies: int = Field(3, description="Noisy copies to show.", ge=1, le=6)
    to: str | None = Field(None, description="File to write, .png or .pdf. Default: OUT/report/image-ID.png.")


def show(settings: ShowSettings) -> tuple[Path | Location, list[str]]:
    """Draw the image as each run certified it; returns the figure's file and the certificates in words, a line a run.

    Raises RaysmoothError for an image that no run has, for runs that did not draw it themselves, and for data or weights that
    are no longer those of the run.
    """
    rows = find_rows(settings.out, settings.image_id, settings.run)
    file = figure_path(settings.to or located(settings.out) / "report" / f"image-{settings.image_id}.png", "--to")
    moved = settings.model_dump(include={"classifier_weights", "denoiser_weights"})
    datasets: dict[str, Dataset] = {}  # to open one, all its images are read for the fingerprint
    shown = []
    for row in records(rows):
        run = StoredRun.read(settings.out, _drawn_by(row))
        if (told := run.identity["data_fingerprint"]) not in datasets:
            datasets[told] = run.open_dataset(settings.data_root)
        shown.append(replay(run, row, datasets[told], settings.copies, **moved))
    save_figure(plot_image(shown), file, flag="--to")
    lines = [f"{heading}: {statement(one.row)}" for heading, one in zip(headings(shown), shown, strict=True)]
    return file.outward, lines


def find_rows(out: Where, image_id: int, run: str | None = None) -> pd.DataFrame:
    """The certificate rows of the image, one for each run that has counts, in the order of reports; with `run` (an id,
    or how it begins) that run's alone. Raises RaysmoothError where there are none, or too many for a figure.
    """
    rows = read_certificates(out)
    if run is not None:
        rows = rows[rows["run_id"] == find_run(rows["run_id"], run, "--run")]
    found = rows[rows["image_id"] == image_id]
    if found.empty:
        near = sorted(sorted(set(rows["image_id"]), key=lambda known: (abs(known - image_id), known))[:3])
        whose = f"no run in {out} has" if run is None else f"run {rows['run_id'].iloc[0]} does not have"
        raise RaysmoothError(f"{whose} a certificate of image {image_id}: the nearest are {', '.join(map(str, near))}")
    own = found[[not _source(row).startswith(IMPORTED) for row in records(found)]]
    if own.empty:
        first = records(found)[0]
        raise RaysmoothError(
            f"run {first['run_id']} was {_source(first)}: it has no counts, and nothing to draw noise with"
        )
    if len(own) > MOST_RUNS:
        raise RaysmoothError(
            f"{len(own)} runs in {out} have image {image_id}, a figure holds {MOST_RUNS}: choose one, --run "
            f"{own['run_id'].iloc[0]}, say"
        )
    return own.set_index("run_id", drop=False).loc[describe_runs(own).index]


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each certificate row as a mapping: None for whatever is unknown, whole numbers whole (pandas makes them floats
    where any row has none).
    """
    whole = {column.name for column in PROCEDURES["certify"].schema if pa.types.is_integer(column.type)}
    return [
        {str(name): None if pd.isna(value) else int(value) if name in whole else value for name, value in row.items()}
        for row in rows.to_dict("records")
    ]


def _source(row: Mapping[str, Any]) -> str:
    """Whence a row is that its run did not draw; "" for all others, and for rows that are older than the column."""
    return str(row.get("source") or "")


def _drawn_by(row: Mapping[str, Any]) -> str:
    """The run whose counts a row rests on."""
    source = _source(row)
    return source.removeprefix(RECERTIFIED).split()[0] if source.startswith(RECERTIFIED) else str(row["run_id"])
