"""Atomic writes to local files: a file is complete, or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`, `.NAME.PID.part`, for the caller to write. It replaces `path` at the end, and is
    removed if the caller fails.

    `durable`: the content is on the disk (fsync) before it replaces `path`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def leftovers(folder: Path, name: str = "*") -> list[Path]:
    """Temporary files that killed writers of `name` (a glob pattern) left in `folder`."""
    return sorted(folder.glob(f".{name}.*.part"))
