"""The certificates of a run as those of a classifier that remembers its answers (--memory): see `certification.memory`.

The images are asked for in the order of the data set, so a run can only be read whole: what is stored first decides.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.analysis.metrics import FIXED, decided_at
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.certification.memory import METRICS, Remembered, remember
from raysmooth.pipeline.data.images import UnreadableImage
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.runs.procedures import PROCEDURES, TOP_K, Whose
from raysmooth.pipeline.runs.row_records import records
from raysmooth.pipeline.runs.stored_run import StoredRun
from raysmooth.pipeline.store.manifest import (
    Manifest,
    ManifestError,
    RunFolder,
    manifests,
    read_manifest,
    refuse_no_runs,
    run_id,
)
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.row_checks import bad_row, row_facts
from raysmooth.pipeline.store.sigma_rules import MEMORY_OF
from raysmooth.storage.location import Where

_CERTIFY = PROCEDURES["certify"]

_DERIVED = ("recertify", "envelope")
"""Procedures of other runs whose rows may be asked for again."""

_UNKNOWN = ("p_lower", "p_upper", "count_top", "count_rejected", "worst_radius")
"""Columns of a row that its class and radius no longer follow from."""


@dataclass(frozen=True)
class MemoryRun:
    """`source` is a finished run with the certificates `rows`, in the order of the data set, whose images are those of
    the sampled run `drawn`, at `data_root` if they have moved. Raises RaysmoothError where it is not finished, or has
    no radii to store.
    """

    source: str
    was: Manifest
    rows: pd.DataFrame
    drawn: StoredRun
    data_root: str | None = None

    def __post_init__(self) -> None:
        run, identity = f"--memory: run {self.source}", self.was.identity
        if decided_at(identity.get("sampling") or FIXED) < np.inf:
            raise RaysmoothError(f"{run} has sampling {identity['sampling']}, and no radius but that: choose another")
        if (norm := identity["norm"]) not in METRICS:
            raise RaysmoothError(f"{run} has radii in {norm}, and there are distances in {', '.join(METRICS)} only")
        if len(self.rows) < (images := identity.get("images") or 0):
            raise RaysmoothError(
                f"{run} has finished {len(self.rows)} of {images} images, and the order of all decides: finish it first"
            )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the rows, as JSON values: the source's identity, and that it was remembered."""
        new = {"procedure": "memory", "source": f"{MEMORY_OF}{self.source}", "source_run": self.source}
        was = {name: value for name, value in self.was.identity.items() if name != "top_k"}
        return {**was, "scheme": SCHEME, **new}

    @property
    def run_id(self) -> str:
        return run_id(self.identity)

    @property
    def manifest(self) -> dict[str, Any]:
        """The source's manifest, with what is new."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        new = {"run_id": self.run_id, "identity": self.identity, "source_run": self.source, "remembered": {"at": at}}
        return {**self.was, **new}

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """Rows of the images that are not `done`, with the answers of the classifier that remembers. Rows that keep
        class and radius keep all but top-k certificates; error rows stay error rows, and are not stored. Raises
        RaysmoothError as `StoredRun.open_dataset` does.
        """
        if set(self.rows["image_id"]) <= set(done):
            return []
        asked = records(self.rows[self.rows["status"] != "error"])
        answers = self._answers(asked)
        found = {
            row["image_id"]: (int(label), float(radius))
            for row, label, radius in zip(asked, answers.classes, answers.radii, strict=True)
        }
        rows = [self._row(row, found.get(row["image_id"])) for row in records(self.rows)]
        return [row for row in rows if row["image_id"] not in done]

    def _answers(self, asked: Sequence[Mapping[str, Any]]) -> Remembered:
        dataset = self.drawn.open_dataset(self.data_root)
        try:
            images = [dataset.read(row["image_id"]).image.reshape(-1) for row in asked]
        except UnreadableImage as error:
            raise RaysmoothError(f"--memory: {error}: make it readable, as it was for run {self.source}") from None
        centres = np.stack(images) if images else np.zeros((0, 1))
        radii = np.array([row["radius"] for row in asked], float)
        classes = np.array([row["prediction"] for row in asked], int)
        return remember(centres, radii, classes, self.was.identity["norm"])

    def _row(self, row: Mapping[str, Any], answer: tuple[int, float] | None) -> dict[str, Any]:
        """The row of an image from that of the source."""
        new = {name: row.get(name) for name in _CERTIFY.schema.names} | {"source": self.identity["source"]}
        new |= dict.fromkeys(("top_k", *(name for name, _ in TOP_K)))  # it remembers one class, and not several
        if answer is None or answer == (row["prediction"], row["radius"]):
            return new
        (prediction, radius), label = answer, row["label"]
        names = class_names_of(self.was.get("data"))
        return {
            **new,
            **dict.fromkeys(_UNKNOWN),
            **Whose(row.get("file"), names).columns(label, prediction),
            "prediction": prediction,
            "radius": radius,
            "abstain": prediction == ABSTAIN,
            "correct": None if label is None else prediction == label,
        }

    def summary(self, rows: pd.DataFrame) -> str:
        """How many images have another answer in `rows` than in the source, in a line."""
        both = self.rows.merge(rows, on="image_id", suffixes=("", "_new"))
        both = both[both["status"] != "error"]
        classes = both["prediction"] != both["prediction_new"]
        smaller = ~classes & (both["radius_new"] < both["radius"])
        return (
            f"{MEMORY_OF}{self.source}: of {counted(len(both), 'image')}, {int(classes.sum())} got another class, and "
            f"{int(smaller.sum())} a smaller radius"
        )


def memory_runs(out: Where, chosen: Sequence[str] | None = None, data_root: str | None = None) -> list[MemoryRun]:
    """Those of the runs in `out` whose ids begin as in `chosen`: sampled, recertified or joined from several; by
    default of all that were sampled. Raises RaysmoothError for others, and if there is none.
    """
    refuse_no_runs(out)
    try:
        found = {run.run_id: manifest for run, manifest in manifests(out, "identity")}
    except ManifestError as error:
        raise RaysmoothError(f"{error}: {error.remedy}") from None
    sampled = [name for name, manifest in found.items() if manifest.procedure == _CERTIFY.name]
    names = sampled if chosen is None else [find_run(found, text, "--run") for text in chosen]
    if not names:
        raise RaysmoothError(f"{out} holds no certificates sampled there: give the --out of 'raysmooth certify'")
    named: set[tuple[str, str]] = set()  # runs share the files of their images
    return [_memory_run(out, name, data_root, named) for name in dict.fromkeys(names)]


def _memory_run(out: Where, name: str, data_root: str | None, named: set[tuple[str, str]]) -> MemoryRun:
    try:
        was = read_manifest(RunFolder.of(out, name), "identity", "objective", "num_classes")
    except ManifestError as error:
        raise RaysmoothError(f"{error}: {error.remedy}") from None
    if was.procedure not in (_CERTIFY.name, *_DERIVED):
        raise RaysmoothError(
            f"--memory: run {name} ({was.procedure}) has no certificates of known images: choose another --run"
        )
    rows = read_rows(out, _CERTIFY.folder, name, partial(_problem, was))
    if rows.empty:
        raise RaysmoothError(f"--memory: run {name} has no finished image yet: finish it first")
    drawn = StoredRun.read(out, _drawn(out, name, was), named)
    if drawn.identity["data_fingerprint"] != was.identity.get("data_fingerprint"):
        raise RaysmoothError(f"run {name} has other images than run {drawn.run_id}, its source: move its folder away")
    return MemoryRun(name, was, rows, drawn, data_root)


def _drawn(out: Where, name: str, manifest: Manifest) -> str:
    """The sampled run that a run's images are read as: its own, or its first source's."""
    for _ in range(len(_DERIVED)):
        identity = manifest.identity
        if manifest.procedure not in _DERIVED:
            break
        name = identity["sources"][0] if manifest.procedure == "envelope" else identity["source_run"]
        try:
            manifest = read_manifest(RunFolder.of(out, name), "identity")
        except ManifestError as error:
            raise RaysmoothError(f"{error}: {error.remedy}") from None
    return name


def _problem(manifest: Manifest, part: pa.Table) -> str | None:
    """Why a part's rows cannot be those of the run; None if they can."""
    needed = ["image_id", "status", "label", "error", "seconds", "prediction", "radius", "abstain", "correct"]
    if missing := [name for name in needed if name not in part.column_names]:
        return f"lacks the column {missing[0]}"
    return bad_row(part, row_facts(manifest), manifest["num_classes"])
