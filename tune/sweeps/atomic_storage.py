"""A local folder as Ray Tune's storage, in which every file is there whole or not at all."""

import io
import os
import uuid
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem


def storage_files(storage: str) -> FileSystem | None:
    """The file system to hand to Ray Tune with a local folder; None for a URL, whose file system it finds itself.

    Ray Tune writes its state over and over in place. A kill while it does would leave half of a file, from which no
    sweep can be continued. Object stores put files whole anyway.
    """
    return None if "://" in storage else PyFileSystem(FSSpecHandler(AtomicFileSystem()))


class AtomicFileSystem(LocalFileSystem):
    """Local files, that take their name only when they are closed."""

    protocol = ("whole",)

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
        # Ray Tune copies its state from a file that it may be rewriting at that moment: rather the state before.
        torn = os.path.getsize(self._partial) == 0 and os.path.exists(self._path)
        if self._failed or torn:
            os.unlink(self._partial)
        else:
            os.replace(self._partial, self._path)
