"""Where a sweep lives: its folder of results, and the storage of its checkpoints."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
from pyarrow.fs import FileSystem

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.training.ensemble import SWEEP

_MAY_CHANGE = ("address", "verbose", "certify", "certify_all")
"""Of a sweep that is continued: they change none of its trials. (Ray Tune keeps all others as they were.)"""


def refuse_other_sweep(out: Path, sweep: SweepSettings) -> None:
    """Raises RaysmoothError where another sweep is in the folder; leaves a note of which this is."""
    file = out / SWEEP
    told = json.loads(json.dumps(sweep.model_dump(exclude={*_MAY_CHANGE, "out"}), default=vars))
    if file.exists():
        before, now = _flat(json.loads(file.read_text())), _flat(told)
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                was = json.dumps(before[key])[:60] if key in before else "left out"
                raise RaysmoothError(
                    f"{out} holds another sweep, with {key} {was}: write another 'out', or delete the folder"
                )
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            partial.write_text(json.dumps(told, indent=1))
    except OSError as error:
        raise RaysmoothError(f"out: {out} cannot be written: {error.strerror}: write another folder") from error


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    """Settings within settings by names such as "validation: n"."""
    flat: dict[str, Any] = {}
    for key, value in told.items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{key}: {name}" if name else key: content for name, content in inner.items()}
    return flat


def storage_of(sweep: SweepSettings, out: Path) -> str:
    """The folder, or an object store's URL, in which the sweep's checkpoints are. Raises RaysmoothError where it cannot be
    written.
    """
    storage = sweep.storage or str(out / "tune")
    if "://" not in storage:
        storage = str(Path(storage).expanduser().absolute())
    try:
        files, path = FileSystem.from_uri(storage)
        files.create_dir(path)
    except (OSError, pa.ArrowException) as error:
        reason = one_line(error)
        raise RaysmoothError(
            f"storage: {storage} cannot be used: {reason}: write a folder or a URL such as s3://bucket/folder"
        ) from error
    return storage


def below(storage: str, name: str) -> str:
    """The folder `name` in a folder, or in an object store's URL, whose options come last."""
    if "://" not in storage:
        return str(Path(storage) / name)
    parts = urlsplit(storage)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
