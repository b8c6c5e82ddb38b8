"""The noise levels that a search has found for the images of a data set, read for the runs that use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from raysmooth.actors.sigma_search.searches import Selector, read_search, rule_of
from raysmooth.common.errors import RaysmoothError, counted, the_one
from raysmooth.pipeline.store.manifest import (
    SEARCH,
    SIGMAS,
    Manifest,
    ManifestError,
    RunFolder,
    manifests,
    read_manifest,
    run_folders,
)
from raysmooth.pipeline.store.parts import foreign, own_parts, read_part, read_parts
from raysmooth.pipeline.store.sigma_rows import SIGMAS_SCHEMA, bad_sigmas
from raysmooth.storage.location import Where

FLAG = "--sigmas"
"""The setting that names a search, for messages."""


@dataclass(frozen=True)
class ImageSigmas:
    """The levels of search `run_id` after `step` steps, by image id, standard deviations in pixel units. `rule` is the
    search that ends there. `radii`, of a certified search: the distance within which the level stays the same with
    probability 1 - `alpha`/2, half of which is left for what is certified with the level; 0 where it abstains; None
    otherwise. `failed`: the reasons of images without a level. `identity` is the search's.
    """

    run_id: str
    step: int
    rule: str
    sigmas: Mapping[int, float]
    radii: Mapping[int, float] | None
    alpha: float | None
    failed: Mapping[int, str]
    identity: Mapping[str, Any]


def read_image_sigmas(out: Where, run: str, step: int | None = None) -> ImageSigmas:
    """The levels of the search in `out` whose id begins with `run`, after `step` steps (default: the last).

    Raises RaysmoothError if there is no such search, if it is not finished, or has not kept this step, and for a part
    that is corrupt or not the search's.
    """
    if not (known := [one.run_id for one in run_folders(out)]):
        raise RaysmoothError(
            f"{FLAG} {run}: there are no runs in {out}: write --out with the folder of the search, or --search in "
            f"place of {FLAG}"
        )
    folder = RunFolder.of(out, the_one(known, run, f"{FLAG} {run}", "run"))
    manifest = _of_search(folder)
    text = str(manifest.identity["search"])
    options = read_search(text)[1]
    last = options.kept_steps[-1]
    step = last if step is None else step
    if step not in options.kept_steps:
        kept = f"has kept {_listed(options.kept_steps)}: write one of these, or search with another number of steps"
        raise RaysmoothError(f"--steps {step}: run {folder.run_id} {kept if last else 'has no steps: leave it out'}")
    rows = _rows(folder, manifest)
    images = int(manifest.identity["images"])
    found = {row["image_id"]: row for row in rows if row["step"] == step}
    failed = {row["image_id"]: str(row["error"]) for row in rows if row["status"] == "error"}
    if len(found) + len(failed) < images:
        done = f"{len(found) + len(failed):,} of {counted(images, 'image')}"
        raise RaysmoothError(
            f"run {folder.run_id} has searched {done}: continue it, with the raysmooth {SEARCH} that began it"
        )
    return ImageSigmas(
        folder.run_id,
        step,
        rule_of(text, step),
        {image: row["image_sigma"] for image, row in found.items()},
        {image: row["radius"] for image, row in found.items()} if options.certified else None,
        options.alpha if isinstance(options, Selector) else None,
        failed,
        manifest.identity,
    )


def refuse_search(out: Where, beginning: str, flag: str) -> None:
    """Raises RaysmoothError, naming `flag`, where a run whose id begins with `beginning` is a search: it has no
    certificates.
    """
    for folder, manifest in manifests(out, "identity", skip_bad=True):
        if beginning and folder.run_id.startswith(beginning) and manifest.procedure == SEARCH:
            raise RaysmoothError(
                f"{flag} {beginning}: run {folder.run_id} ({SEARCH}) has noise levels and no certificates: 'raysmooth "
                f"certify --sigmas {folder.run_id}' certifies at them"
            )


def _of_search(folder: RunFolder) -> Manifest:
    try:
        manifest = read_manifest(folder, "identity", "num_classes")
    except ManifestError as error:
        raise RaysmoothError(f"{error}: {error.remedy}") from None
    if manifest.procedure != SEARCH:
        raise RaysmoothError(
            f"{FLAG}: run {folder.run_id} ({manifest.procedure}) has found no noise levels: name a run of raysmooth "
            f"{SEARCH}"
        )
    return manifest


def _rows(folder: RunFolder, manifest: Manifest) -> list[dict[str, Any]]:
    """The rows of the whole search, without the columns that are the same in all of them."""
    kept = ["image_id", "step", "image_sigma", "radius", "status", "error"]
    origin = {"run_id": folder.run_id, "kind": SIGMAS}
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    for file, table in read_parts(list(own_parts(folder.rows(SIGMAS), SIGMAS_SCHEMA, origin)), read_part):
        if (wrong := bad_sigmas(table, manifest)) is not None:
            raise foreign(file, wrong)
        images = set(table["image_id"].to_pylist())
        if seen & images:
            raise foreign(file, "holds images that another part holds too, as a copy would")
        seen |= images
        rows += pa.Table.to_pylist(table.select(kept))
    return rows


def _listed(steps: tuple[int, ...]) -> str:
    """The steps that a search has kept: "step 0", "steps 100, 200, ..., 900"."""
    if len(steps) == 1:
        return f"step {steps[0]} alone"
    shown = [str(step) for step in steps]
    return f"steps {', '.join(shown if len(shown) <= 10 else [*shown[:3], '...', shown[-1]])}"
