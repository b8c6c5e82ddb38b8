"""Searches with chosen results for real images and networks, so that runs can be drawn at each image's own level."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_rows import DDRS, failed_row, image_rows, search_manifest, write_search

from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES

_SHARED = (
    "dataset", "split", "index_set", "classifier", "denoiser", "classifier_fingerprint", "denoiser_fingerprint",
    "noise", "sigma", "images",
)  # fmt: skip


def searched(
    out: Path,
    settings: Mapping[str, Any],
    levels: Mapping[int, float],
    search: str = DDRS,
    radii: Mapping[int, float] | None = None,
    failed: Mapping[int, str] | None = None,
    **identity: Any,
) -> str:
    """The id of a finished search in `out` for runs with these settings: the `levels` of images after its last step
    (half as large after earlier ones), the `radii` within which they stay the same, and reasons of those that `failed`.
    """
    procedure = PROCEDURES["certify"]
    (run,) = prepare(procedure, user_settings(procedure.settings, {"out": str(out), **settings}))
    known = {name: run.facts[name] for name in _SHARED}
    known |= {"data_fingerprint": run.data_fingerprint, "preprocess": run.base.preprocess}
    manifest = search_manifest(search, **known | identity)
    manifest |= {"num_classes": run.num_classes, "objective": run.objective}
    steps = read_search(search)[1].kept_steps
    images = [
        image_rows(
            manifest,
            image_id,
            {step: level if step == steps[-1] else level / 2 for step in steps},
            None if radii is None else radii[image_id],
        )
        for image_id, level in levels.items()
    ]
    return write_search(out, manifest, [*images, *(failed_row(manifest, *one) for one in (failed or {}).items())])
