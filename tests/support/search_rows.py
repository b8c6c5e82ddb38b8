"""Searches for noise levels that were never computed: rows and manifests written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manifests import manifest_of

from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.search_store import SearchStore

DDRS = "ddrs:anchor=off,clamp=0.02,draws=1,gradient=backward,learning_rate=0.0001,steps=250"
"""Keeps steps 100, 200 and 250."""

SELECTOR = "selector:alpha=0.001,bins=0.6,levels=0.25+0.5,n=10000,n0=100"

_NOT_OF_A_SEARCH = ("norm", "sampling", "n0", "n", "alpha", "block_size", "source")


def search_manifest(search: str = DDRS, **identity: Any) -> dict[str, Any]:
    """The manifest of a search of five images whose identity has these changes."""
    manifest = manifest_of()
    own = {name: value for name, value in manifest["identity"].items() if name not in _NOT_OF_A_SEARCH}
    own |= {"procedure": "optimize-sigma", "search": search, "index_set": "all 5", "images": 5, **identity}
    return {**manifest, "identity": own, "run_id": run_id(own)}


def image_rows(
    manifest: Mapping[str, Any], image_id: int, found: Mapping[int, float], radius: float | None = None
) -> list[dict[str, Any]]:
    """The rows of an image with its level after each step."""
    identity = manifest["identity"]
    names = ("dataset", "split", "index_set", "classifier", "denoiser", "classifier_fingerprint", "noise", "sigma")
    facts = {name: identity[name] for name in (*names, "search", "images")} | {"objective": manifest["objective"]}
    return [
        {
            **facts,
            "image_id": image_id,
            "label": 1,
            "step": step,
            "image_sigma": sigma,
            "objective_value": 2.0537489 * sigma,
            "prediction": 1,
            "radius": radius,
            "seconds": 0.5,
            "status": "ok",
        }
        for step, sigma in found.items()
    ]


def failed_row(manifest: Mapping[str, Any], image_id: int, reason: str) -> list[dict[str, Any]]:
    """The one row of an image whose search failed."""
    (row,) = image_rows(manifest, image_id, {0: 1.0})
    nothing = dict.fromkeys(("step", "image_sigma", "objective_value", "prediction"))
    return [{**row, **nothing, "status": "error", "error": reason}]


def write_search(out: Path, manifest: dict[str, Any], images: Sequence[Sequence[dict[str, Any]]]) -> str:
    """A search with the rows of these images; its run id."""
    with SearchStore(out, manifest) as store:
        for rows in images:
            store.add_image(rows)
    return store.run_id
