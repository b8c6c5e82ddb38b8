"""The certified image of a report's page. Importing this module imports no torch: pages without an image need none."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.run_facts import IMPORTED
from raysmooth.pipeline.analysis.sigmas.limits import is_of_memory
from raysmooth.pipeline.report.page.context import CertifiedImage
from raysmooth.pipeline.report.page.headline import Headline
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.store.manifest import Manifest, ManifestError, RunFolder, read_manifest
from raysmooth.pipeline.store.sigma_rules import envelope_levels
from raysmooth.storage.location import Where
from raysmooth.storage.store_urls import is_url

if TYPE_CHECKING:
    from raysmooth.pipeline.pictures.image_replay import ReplayedImage
    from raysmooth.pipeline.runs.stored_run import StoredRun

MOST_VALUES = 200_000_000
"""Most values (images times C H W) of a run whose data are read for a picture. All are, to know that they are its own.
"""

COPIES = 2
"""Noisy copies on the page."""


def certified_image(results: Where, data: ReportData, head: Headline, trust_code: bool = False) -> CertifiedImage:
    """The image of the headline as its run certified it: that of `replay`, or one without noisy copies, with the
    reason, where the run's networks are not there or are code that is not trusted.

    Raises RaysmoothError for runs without draws, and for data that have changed, are not there, or take long to read.
    """
    rows = data.parts[head.run_id]
    source, rule = (text_of(rows[name].iloc[0]) if name in rows else None for name in ("source", "sigma_rule"))
    if source is not None and source.startswith(IMPORTED):
        raise RaysmoothError("the run is imported from a log, which has no counts")
    if is_of_memory(source) or envelope_levels(rule):
        raise RaysmoothError("the run has no draws of its own ('raysmooth show' shows those of its sources)")
    try:
        manifest = read_manifest(RunFolder.of(results, head.run_id), "identity", "settings")
    except ManifestError as error:
        raise RaysmoothError("the run has no manifest that can be read" if error.is_missing else error) from None
    _refuse_long(manifest)

    from raysmooth.pipeline.pictures.page_pictures import as_certified_image  # imports torch
    from raysmooth.pipeline.pictures.show import sampled_by
    from raysmooth.pipeline.runs.row_records import records
    from raysmooth.pipeline.runs.stored_run import StoredRun

    (row,) = records(rows[rows["image_id"] == head.image_id])
    run = StoredRun.read(results, sampled_by(row))
    return as_certified_image(*_replayed(run, row, trust_code))


def _replayed(run: "StoredRun", row: Mapping[str, Any], trust_code: bool) -> "tuple[ReplayedImage, str]":
    """The image, and why it has no noisy copies, "" if it has."""
    from raysmooth.pipeline.pictures.image_replay import replay, without_copies

    dataset = run.open_dataset()
    try:
        for name in ("classifier_weights", "denoiser_weights", "rejector_weights"):
            if is_url(str(run.settings.get(name))):
                raise RaysmoothError(f"the {name.replace('_', ' ')} are in an object store")
        return replay(run, row, dataset, COPIES, trust_code=trust_code), ""
    except RaysmoothError as refusal:
        return without_copies(run, row, dataset), str(refusal)


def _refuse_long(manifest: Manifest) -> None:
    settings, shape = manifest["settings"] or {}, manifest.get("image_shape") or [3, 224, 224]
    if is_url(str(settings.get("data_root"))):
        raise RaysmoothError("the run's data are in an object store ('raysmooth show' reads them)")
    images = int(manifest.identity.get("images") or 0)
    if images * int(np.prod(shape)) > MOST_VALUES:
        raise RaysmoothError(f"reading the run's {images:,} images would take long ('raysmooth show' reads them)")
