"""Where a sweep lives: its folder of results, and the storage of its checkpoints."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
from pyarrow.fs import FileSystem

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.records import BadRecord, Record, read_record, shown
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.training.ensemble import SWEEP

_MAY_CHANGE = ("address", "verbose", "certify", "certify_all")
"""Settings that may change when a sweep is resumed: they affect no trial. (Ray Tune keeps all others as they were.)"""


_INSTEAD = "write another 'out', or delete the folder"


def refuse_other_sweep(out: Path, sweep: SweepSettings) -> None:
    """Raises RaysmoothError if the folder holds another sweep, or one that cannot be resumed; else records this one."""
    file = out / SWEEP
    settings = json.loads(json.dumps(sweep.model_dump(exclude={*_MAY_CHANGE, "out"}), default=vars))
    if file.exists():
        try:
            recorded = read_record(Record, file).model_extra or {}
        except (BadRecord, OSError) as bad:
            raise RaysmoothError(f"the sweep in {out} is unknown: {bad}: {_INSTEAD}") from None
        _refuse_difference(out, recorded, settings)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            partial.write_text(json.dumps(settings, indent=1))
    except OSError as error:
        raise RaysmoothError(f"out: {out} cannot be written: {error.strerror}: write another folder") from error


def _refuse_difference(out: Path, recorded: dict[str, Any], settings: dict[str, Any]) -> None:
    if recorded.keys() & SweepSettings.RENAMED.keys():
        # Ray Tune's state names modules that have moved since.
        raise RaysmoothError(
            f"{out} holds a sweep of an earlier version of raysmooth, which cannot be resumed: {_INSTEAD}"
        )
    before, now = _flat(recorded), _flat(settings)
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            value = shown(before[key]) if key in before else "left out"
            raise RaysmoothError(f"{out} holds another sweep, with {printable(key)} {value}: {_INSTEAD}")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings under names such as "validation: n"."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{key}: {name}" if name else key: content for name, content in inner.items()}
    return flat


def storage_of(sweep: SweepSettings, out: Path) -> str:
    """Folder, or URL of an object store, of the sweep's checkpoints; raises RaysmoothError if it cannot be written."""
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
    """The folder `name` below a folder or an object store's URL; the URL's options stay at its end."""
    if "://" not in storage:
        return str(Path(storage) / name)
    parts = urlsplit(storage)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
