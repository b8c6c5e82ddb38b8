"""What earlier sessions of the same command left in a folder of results: a run of other data or weights, or one that is
being written at this moment. Found by their manifests alone, before there is a replica.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from raysmooth.pipeline.store.manifest import Manifest, RunFolder, manifests
from raysmooth.pipeline.store.run_lock import refuse_being_written
from raysmooth.storage.location import Where

_FINGERPRINTS = {
    "data_fingerprint": "the data",
    "classifier_fingerprint": "the classifier",
    "denoiser_fingerprint": "the denoiser",
}

_PLACES = {"sigma", "out", "replicas", "max_errors", "verbose"}
"""Settings that may differ between sessions of a run; each sigma is a run, and the identity has it."""

_RESOURCES = {"address", "gpus_per_replica", "cpus_per_replica"}
"""Settings that choose the machines."""


def refuse_second_driver(out: Where, identity: Mapping[str, Any], settings: BaseModel) -> None:
    """Raises RaysmoothError if another process of this machine writes the run with these `settings`. `identity` is what
    is known of the run's before there is a replica. The run's lock refuses what is not found here.
    """
    known = _as_stored(identity)
    for run, manifest in _of_command(out, identity, settings, apart=_PLACES):
        if all(manifest.identity.get(name) == value for name, value in known.items()):
            refuse_being_written(run.home)


def changed_since(out: Where, identity: Mapping[str, Any], settings: BaseModel) -> str | None:
    """A line that says what has changed since the last run with these `settings`, which is therefore another run; None
    if there is none, or if one has the same data and networks. `identity` as above.
    """
    known, last = _as_stored(identity), None
    for run, manifest in _of_command(out, identity, settings, apart=_PLACES | _RESOURCES):
        changed = [what for name, what in _FINGERPRINTS.items() if manifest.identity.get(name) != known.get(name)]
        if not changed:
            return None
        last = max(last or ("", "", []), (str(manifest.get("started")), run.run_id, changed))
    if last is None:
        return None
    started, run_id, changed = last
    what = " and ".join(changed)
    return f"{what} changed since run {run_id} (of {started[:10]}), which has the same settings: a new run"


def _of_command(
    out: Where, identity: Mapping[str, Any], settings: BaseModel, apart: set[str]
) -> Iterator[tuple[RunFolder, Manifest]]:
    """The runs in `out` of the same procedure, sigma and settings, `apart` from some. A bad manifest is passed over."""
    wanted = _as_stored(settings.model_dump(exclude=apart))
    # Manifests of earlier versions lack settings that were added later.
    defaults = _as_stored({name: type(settings).model_fields[name].get_default() for name in wanted})
    for run, manifest in manifests(out, "identity", "settings", skip_bad=True):
        theirs = manifest["settings"]
        if (
            isinstance(theirs, Mapping)
            and all(manifest.identity.get(name) == identity[name] for name in ("procedure", "sigma"))
            and all(theirs.get(name, defaults[name]) == value for name, value in wanted.items())
        ):
            yield run, manifest


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return stored
