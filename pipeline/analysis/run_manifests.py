"""The manifests of runs, for reports."""

from collections.abc import Mapping
from typing import Any

from raysmooth.pipeline.store.manifest import ManifestError, RunFolder, read_manifest
from raysmooth.storage.location import Where
from raysmooth.storage.object_store import notify


def manifest_of(out: Where, run_id: str) -> Mapping[str, Any] | None:
    """The manifest of a run in `out`; None if there is none, or none that can be read, which is said on stderr: a
    report does not need it.
    """
    try:
        return read_manifest(RunFolder.of(out, run_id))
    except ManifestError as error:
        if not error.is_missing:
            notify(f"{error}: the page leaves it out")
        return None
