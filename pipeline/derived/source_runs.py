"""The runs of a results folder that were sampled there, and so have counts to recertify from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import FIXED
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.manifest import (
    Manifest,
    ManifestError,
    RunFolder,
    manifests,
    missing_manifests,
    read_manifest,
    refuse_no_runs,
    without_manifest,
)
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.row_checks import bad_row, row_facts
from raysmooth.storage.location import Where
from raysmooth.storage.object_store import notify

PROCEDURE, FOLDER = PROCEDURES["certify"].name, PROCEDURES["certify"].folder


@dataclass(frozen=True)
class SourceRun:
    """A sampled run: its manifest, and the rows of its finished images in the order of images."""

    run_id: str
    manifest: Mapping[str, Any]
    rows: pd.DataFrame

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.manifest["identity"]

    @property
    def is_rejecting(self) -> bool:
        """Whether its counts have rejected draws."""
        return self.identity.get("rejector") is not None

    @property
    def sampling_method(self) -> str:
        """The sampling method without options: "fixed", "adaptive" or "decide"."""
        return str(self.identity.get("sampling", FIXED)).partition(":")[0]


def source_runs(out: Where, chosen: Sequence[str] | None = None, flag: str = "--run") -> list[SourceRun]:
    """The runs sampled in `out` for certificates that have finished an image: those whose ids begin as in `chosen`,
    which `flag` names, or all. Raises RaysmoothError if there is none, or a chosen one is not such a run.
    """
    refuse_no_runs(out)
    try:
        found = {run.run_id: manifest for run, manifest in manifests(out, "identity")}
    except ManifestError as error:
        raise RaysmoothError(f"{error}: {error.remedy}") from None
    sampled = [name for name, manifest in found.items() if manifest.procedure == PROCEDURE]
    if missing := without_manifest(out, PROCEDURE) if chosen is None else []:
        notify(missing_manifests(missing, "left out"))
    names = sampled if chosen is None else [_the_run(text, found, flag) for text in chosen]
    sources = []
    for name in dict.fromkeys(names):
        rows = read_rows(out, FOLDER, name, partial(_problem, _whole(RunFolder.of(out, name))))
        if len(rows):
            sources.append(SourceRun(name, found[name], rows))
        elif chosen is not None:
            raise RaysmoothError(f"run {name} has no finished image yet: continue it with 'raysmooth certify' first")
    if not sources:
        raise RaysmoothError(f"{out} holds no certificates sampled there: give the --out of 'raysmooth certify'")
    return sources


def _whole(run: RunFolder) -> Manifest:
    """The manifest of a sampled run. Raises RaysmoothError where it lacks anything that recertifying needs."""
    try:
        return read_manifest(run, "identity", "settings", "objective", "image_shape", "num_classes")
    except ManifestError as error:
        raise RaysmoothError(f"{error}: {error.remedy}") from None


def _problem(manifest: Manifest, part: pa.Table) -> str | None:
    """Why a part's rows cannot be those of the run; None if they can."""
    needed = ["image_id", "status", "label", "error", "seconds", "prediction", "radius"]
    needed += [] if manifest.identity.get("sampling", FIXED) == FIXED else ["draws", "n_used"]
    if missing := [name for name in needed if name not in part.column_names]:
        return f"lacks the column {missing[0]}"
    return bad_row(part, row_facts(manifest), manifest["num_classes"])


def _the_run(text: str, manifests: Mapping[str, Manifest], flag: str) -> str:
    """The sampled run whose id begins with `text`."""
    found = find_run(manifests, text, flag)
    procedure = manifests[found].procedure
    if procedure == "recertify":
        source = manifests[found]["source_run"]
        raise RaysmoothError(f"run {found} has no counts, as it was recertified: write {flag} {source}, its source")
    if procedure != PROCEDURE:
        raise RaysmoothError(f"run {found} ({procedure}) has no certificates sampled here: choose another {flag}")
    return found
