"""A local folder as Ray Tune's storage in which every file appears whole or not at all.

Ray Tune saves a sweep's state every few seconds by overwriting the same files in place. If it is killed during a save,
the files are left truncated, and the sweep cannot be restored. So it gets a file system that writes a temporary file
and renames it when it is closed. There is one more gap: Ray Tune writes its state to a local file first and copies that
to the storage in another thread. A copy taken while the local file is being rewritten can be empty; such a copy does
not replace a complete one.

Object stores put files whole anyway.
"""

import io
import os
import uuid
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem


def storage_files(storage: str) -> FileSystem | None:
    """The file system for Ray Tune to use with a local folder; None for a URL, for which it finds its own."""
    return None if "://" in storage else PyFileSystem(FSSpecHandler(AtomicFileSystem()))


class AtomicFileSystem(LocalFileSystem):
    """Local files that get their name when they are closed."""

    protocol = ("atomic",)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        if mode != "wb":
            return super()._open(path, mode=mode, block_size=block_size, **options)
        return _AtomicFile(self._strip_protocol(path))


class _AtomicFile(io.FileIO):
    def __init__(self, path: str) -> None:
        self._path, self._failed = path, False
        folder, name = os.path.split(path)
        self._partial = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.part")
        super().__init__(self._partial, "wb")

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BaseException:
            self._failed = True
            raise

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        empty_copy = os.path.getsize(self._partial) == 0 and os.path.exists(self._path)
        if self._failed or empty_copy:
            os.unlink(self._partial)
        else:
            os.replace(self._partial, self._path)
