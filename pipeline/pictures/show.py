"""`raysmooth show`: the figure of one image of a folder of results."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pandas as pd
from pydantic import Field

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.settings import Settings, trust_code_field
from raysmooth.pipeline.analysis.run_facts import IMPORTED, RECERTIFIED, describe_runs
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.analysis.sigmas.limits import is_of_memory, limits_of_all
from raysmooth.pipeline.data.datasets import Dataset
from raysmooth.pipeline.pictures.image_choice import image_id_of
from raysmooth.pipeline.pictures.statement import statement
from raysmooth.pipeline.report.displays import FigureFile
from raysmooth.pipeline.report.figures.figure_file import figure_path, save_figure
from raysmooth.pipeline.report.report import read_certificates
from raysmooth.pipeline.runs.row_records import records
from raysmooth.pipeline.runs.stored_run import StoredRun
from raysmooth.pipeline.store.image_sigmas import refuse_search
from raysmooth.pipeline.store.sigma_rules import envelope_levels
from raysmooth.storage.location import Where, located
from raysmooth.storage.object_store import notify
from raysmooth.storage.paths import OutText, PathText

headings = LateCallable("raysmooth.pipeline.pictures.image_figure:headings")
plot_image = LateCallable("raysmooth.pipeline.pictures.image_figure:plot_image")
replay = LateCallable("raysmooth.pipeline.pictures.image_replay:replay")
without_copies = LateCallable("raysmooth.pipeline.pictures.image_replay:without_copies")

MOST_RUNS = 10
"""Most runs in one figure."""


class ShowSettings(Settings):
    """Show"""

    RENAMED: ClassVar[Mapping[str, str]] = {"to": "out"}

    results: PathText = Field(description="Folder of results (--out of certify).")
    image_id: int | str = Field(description="Number of the image in the data set, or its file, such as cat/7.png.")
    run: str | None = Field(None, description="Only this run: its id, or its first characters. Default: all runs.")
    data_root: PathText | None = Field(None, description="New location of the data set, if it has moved.")
    classifier_weights: PathText | None = Field(None, description="New location of the classifier's weights.")
    denoiser_weights: PathText | None = Field(None, description="New location of the denoiser's weights.")
    rejector_weights: PathText | None = Field(None, description="New location of the rejector's weights.")
    classifier: str | None = Field(
        None, description="The run's classifier, if it is your own (MODULE:CALLABLE): naming it allows its import."
    )
    trust_code: bool = trust_code_field()
    copies: int = Field(3, description="Number of noisy copies to show.", ge=1, le=6)
    out: OutText | None = Field(None, description="File to write, .png or .pdf. Default: RESULTS/report/image-ID.png.")


def show(settings: ShowSettings, before_torch: Callable[[], None] = lambda: None) -> FigureFile:
    """Plot the image as each run certified it; returns the figure's file, whose `lines` are the certificates in words,
    one for each run, and sentences on what some of these do not say. A run whose classifier is code that may not be
    imported is left out, and named on standard error. `before_torch` is called before torch is loaded, after all
    refusals that need none.

    Raises RaysmoothError for an image that no run has, for a file that several images may be, where no run is left, for
    runs without draws of their own, and for data or weights that have changed since the run.
    """
    rows = find_rows(settings.results, settings.image_id, settings.run)
    default = located(settings.results) / "report" / f"image-{rows['image_id'].iloc[0]}.png"
    file = figure_path(settings.out or default, "--out")
    moved = settings.model_dump(include={"classifier_weights", "denoiser_weights", "rejector_weights"})
    named: set[tuple[str, str]] = set()  # derived runs have the files of their source
    chosen: list[tuple[dict[str, Any], StoredRun, bool]] = []
    refused: list[tuple[str, RaysmoothError]] = []
    for row in records(rows):
        run = StoredRun.read(settings.results, sampled_by(row), named)
        trusted = settings.trust_code or settings.classifier == run.identity["classifier"]
        try:
            run.refuse_code(trusted)
        except RaysmoothError as refusal:
            refused.append((run.run_id, refusal))
        else:
            chosen.append((row, run, trusted))
    if not chosen:
        raise refused[0][1]
    before_torch()
    datasets: dict[str, Dataset] = {}  # opening one reads all its images for the fingerprint
    images = []
    for row, run, trusted in chosen:
        if (fingerprint := run.identity["data_fingerprint"]) not in datasets:
            datasets[fingerprint] = run.open_dataset(settings.data_root)
        if run.asked_api:  # its votes are stored, and nothing is sent again for a picture
            notify(f"run {run.run_id}: the classifier is a vision API: its votes are shown, without noisy copies")
            images.append(without_copies(run, row, datasets[fingerprint]))
            continue
        images.append(replay(run, row, datasets[fingerprint], settings.copies, **moved, trust_code=trusted))
    for run_id, reason in refused:
        notify(f"run {run_id} is left out: {reason}")
    figure = plot_image(images)
    save_figure(figure, file, flag="--out")
    lines = [
        f"{heading}: {statement(image.row, image.class_names)}"
        for heading, image in zip(headings(images), images, strict=True)
    ]
    lines += limits_of_all(row for row, _, _ in chosen)
    return FigureFile(file.outward, figure, lines)


def find_rows(results: Where, image: int | str, run: str | None = None) -> pd.DataFrame:
    """The certificate rows of the image, which is meant as in `image_id_of`, one for each run that has counts, in the
    order of reports; with `run` (an id or its first characters) only that run's row. Raises RaysmoothError where there
    are none, or too many for a figure.
    """
    rows = read_certificates(results)
    if run is not None:
        if not rows["run_id"].str.startswith(run).any():
            refuse_search(results, run, "--run")
        rows = rows[rows["run_id"] == find_run(rows["run_id"], run, "--run")]
    image_id = image_id_of(rows, image)
    found = rows[rows["image_id"] == image_id]
    if found.empty:
        near = sorted(sorted(set(rows["image_id"]), key=lambda known: (abs(known - image_id), known))[:3])
        whose = f"no run in {results} has" if run is None else f"run {rows['run_id'].iloc[0]} does not have"
        raise RaysmoothError(f"{whose} a certificate of image {image_id}: the nearest are {', '.join(map(str, near))}")
    own = found[[_has_draws(row) for row in records(found)]]
    if own.empty:
        first = records(found)[0]
        if not (source := _source(first)).startswith(IMPORTED):
            drawn = source.rpartition(" ")[2].partition(",")[0]
            raise RaysmoothError(
                f"run {first['run_id']} ({source}) has no draws of its own to show: write --run {drawn}, its source"
            )
        raise RaysmoothError(f"run {first['run_id']} was {_source(first)}: it has no counts and no noise to show")
    if len(own) > MOST_RUNS:
        raise RaysmoothError(
            f"{len(own)} runs in {results} have image {image_id}, a figure holds {MOST_RUNS}: choose one, such as "
            f"--run {own['run_id'].iloc[0]}"
        )
    return own.set_index("run_id", drop=False).loc[describe_runs(own).index]


def _source(row: Mapping[str, Any]) -> str:
    """The source of a row that was not sampled by its own run; "" for other rows, and rows older than the column."""
    return str(row.get("source") or "")


def _has_draws(row: Mapping[str, Any]) -> bool:
    """Whether a row follows from draws at one noise level, as those of logs, envelopes and memories do not."""
    source = _source(row)
    return not (source.startswith(IMPORTED) or is_of_memory(source) or envelope_levels(row.get("sigma_rule")))


def sampled_by(row: Mapping[str, Any]) -> str:
    """The id of the run whose counts support a row."""
    source = _source(row)
    words = source.removeprefix(RECERTIFIED).split() if source.startswith(RECERTIFIED) else []
    return words[0] if words else str(row["run_id"])
