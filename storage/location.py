"""Where results are: a folder or file on this machine, or in an object store, used alike."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.object_store import Answer, ObjectStore, no_bucket
from raysmooth.storage.store_urls import bucket_of, is_url


@dataclass(frozen=True, order=True)
class Location:
    """`path` is what its file system knows it by: a local path as it was given, or "bucket/folder/file". `options` are
    those of the URL that it was given as.

    On this machine methods raise OSError as its system does. What an object store cannot do now is tried again for
    minutes, as ObjectStore has it; they raise RaysmoothError where it stays away, or denies access. A folder there is what
    the names of objects begin with.
    """

    path: str
    store: ObjectStore | None = field(default=None, compare=False)
    options: str = ""

    def __truediv__(self, name: str) -> "Location":
        path = str(Path(self.path) / name) if self.store is None else f"{self.path}/{name}"
        return Location(path, self.store, self.options)

    def __str__(self) -> str:
        if self.store is None:
            return self.path
        scheme = self.store.root.partition("://")[0]
        return f"{scheme}://{self.path}{'?' * bool(self.options)}{self.options}"

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Location":
        path = str(Path(self.path).parent)
        return Location(path, self.store, self.options)

    @property
    def is_local(self) -> bool:
        return self.store is None

    @property
    def filesystem(self) -> FileSystem:
        """pyarrow's, which knows `path`."""
        return LocalFileSystem() if self.store is None else self.store.filesystem

    @property
    def local(self) -> Path:
        """The path of what is on this machine."""
        if self.store is not None:
            raise AssertionError(f"{self} is not on this machine")
        return Path(self.path)

    @property
    def outward(self) -> "Path | Location":
        """What a caller from Python gets: a path, of what is on this machine."""
        return Path(self.path) if self.store is None else self

    def below(self, folder: "Location") -> tuple[str, ...]:
        """The names on the way from `folder`, in which it lies."""
        return Path(self.path).relative_to(folder.path).parts

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return self._type() != FileType.NotFound

    def is_folder(self) -> bool:
        return self._type() == FileType.Directory

    def files(self, recursive: bool = False) -> list["Location"]:
        """The files in this folder, or all below it, in the order of their names; none where there is no folder."""
        if self.store is None:
            paths = Path(self.path).rglob("*") if recursive else Path(self.path).glob("*")
            return [Location(str(path)) for path in sorted(paths) if path.is_file()]
        selector = FileSelector(self.path, allow_not_found=True, recursive=recursive)
        found: list[FileInfo] = self._tried(lambda: self.filesystem.get_file_info(selector))
        return sorted(Location(info.path, self.store, self.options) for info in found if info.is_file)

    def folders(self) -> list["Location"]:
        """The folders in this folder, in the order of their names; none where there is no folder."""
        if self.store is None:
            return [Location(str(path)) for path in sorted(Path(self.path).glob("*")) if path.is_dir()]
        # Google's store lists no folders: they are told by what lies in them.
        deeper = (file for file in self.files(recursive=True) if len(file.below(self)) > 1)
        return sorted({self / file.below(self)[0] for file in deeper})

    def read_bytes(self, patiently: bool = True) -> bytes:
        """The file's content; raises FileNotFoundError, and in an object store Unreachable unless `patiently`."""
        if self.store is None:
            return Path(self.path).read_bytes()
        return self._tried(self._get, patiently)

    def modified(self) -> float:
        """When the file was written, in seconds since the epoch, by the clock of whoever keeps it; raises
        FileNotFoundError.
        """
        if self.store is None:
            return Path(self.path).stat().st_mtime
        info: FileInfo = self._tried(lambda: self.filesystem.get_file_info(self.path))
        if info.mtime is None:
            raise FileNotFoundError(str(self))
        return info.mtime.timestamp()

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_atomic(self, content: bytes, *, durable: bool = True, patiently: bool = True) -> None:
        """Replace the file by `content`: all of it at once, or nothing.

        On this machine through `atomic_file`, with its `durable`. In an object store with a single upload; raises
        Unreachable unless `patiently`.
        """
        if self.store is not None:
            self._tried(lambda: self._put(content), patiently)
            return
        with atomic_file(Path(self.path), durable=durable) as partial:
            partial.write_bytes(content)

    def unlink(self, patiently: bool = True) -> None:
        """Remove the file, if it is there."""
        with suppress(FileNotFoundError):
            if self.store is None:
                Path(self.path).unlink()
            else:
                self._tried(lambda: self.filesystem.delete_file(self.path), patiently)

    def make_folder(self) -> None:
        """Make the folder and those above it; object stores need none."""
        if self.store is None:
            Path(self.path).mkdir(parents=True, exist_ok=True)

    def _type(self) -> FileType:
        if self.store is None:
            path = Path(self.path)
            return FileType.Directory if path.is_dir() else FileType.File if path.exists() else FileType.NotFound
        return self._tried(lambda: self.filesystem.get_file_info(self.path)).type

    def _get(self) -> bytes:
        with self.filesystem.open_input_stream(self.path) as stream:
            return stream.read()

    def _put(self, content: bytes) -> None:
        try:
            stream = self.filesystem.open_output_stream(self.path)
            stream.write(content)
            stream.close()  # not if writing failed: what is closed is published
        except FileNotFoundError:  # as Google's store has it
            raise no_bucket(str(self)) from None

    def _tried(self, operation: Callable[[], Answer], patiently: bool = True) -> Answer:
        assert self.store is not None, "of object stores"
        return self.store.patiently(operation) if patiently else self.store.once(operation)


Where: TypeAlias = str | os.PathLike[str] | Location
"""How a user, or one of us, says where results are."""


def located(where: Where) -> Location:
    """The location that a user means by a path or a URL. Raises RaysmoothError for a URL that is not an object store's."""
    if isinstance(where, Location):
        return where
    if not is_url(where):
        return Location(str(where))
    store, path = bucket_of(str(where))
    return Location(path, store, urlsplit(str(where)).query)
