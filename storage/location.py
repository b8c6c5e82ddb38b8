"""Locations of results: a file or folder on this machine or in an object store, with one interface."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from raysmooth.common.errors import RaysmoothError, described, printable
from raysmooth.common.late_imports import LateModule
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.object_store import Answer, ObjectStore, no_bucket
from raysmooth.storage.paths import refuse_no_path
from raysmooth.storage.regular_file import read_regular, refuse_larger
from raysmooth.storage.store_urls import bucket_of, is_url

if TYPE_CHECKING:
    from pyarrow import fs
else:
    fs = LateModule("pyarrow.fs")


@dataclass(frozen=True, order=True)
class Location:
    """`path`: the path in its file system, a local path as given, or "bucket/folder/file". `options`: those of the URL.

    On this machine methods raise OSError. In an object store they retry for minutes (see ObjectStore) and raise
    RaysmoothError if it stays unreachable or denies access. There a folder is a common prefix of object names.
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
    def filesystem(self) -> "fs.FileSystem":
        """The pyarrow file system of `path`."""
        return fs.LocalFileSystem() if self.store is None else self.store.filesystem

    @property
    def local(self) -> Path:
        """The local path; only for locations on this machine."""
        if self.store is not None:
            raise AssertionError(f"{self} is not on this machine")
        return Path(self.path)

    @property
    def outward(self) -> "Path | Location":
        """The value to return from the Python API: a path if it is on this machine."""
        return Path(self.path) if self.store is None else self

    def below(self, folder: "Location") -> tuple[str, ...]:
        """The path relative to `folder`, as its parts."""
        return Path(self.path).relative_to(folder.path).parts

    def exists(self) -> bool:
        """Whether it is an existing file or folder. This and the next three raise RaysmoothError where this user may
        not look: what is there must not count as missing.
        """
        return self._type() != fs.FileType.NotFound

    def is_folder(self) -> bool:
        return self._type() == fs.FileType.Directory

    def files(self, recursive: bool = False) -> list["Location"]:
        """The files in this folder, or all below it, sorted by name; empty if there is no folder. Links to folders are
        followed: a user may gather runs by them.
        """
        if self.store is None:
            with _permitted():
                paths = _walk(self.path) if recursive else self._entries()
                return [Location(str(path)) for path in sorted(paths) if path.is_file()]
        selector = fs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        found: list[fs.FileInfo] = self._tried(lambda: self.filesystem.get_file_info(selector))
        return sorted(Location(info.path, self.store, self.options) for info in found if info.is_file)

    def folders(self) -> list["Location"]:
        """The folders in this folder, sorted by name; empty if there is no folder."""
        if self.store is None:
            with _permitted():
                return [Location(str(path)) for path in sorted(self._entries()) if path.is_dir()]
        # Google's store lists no folders: derive them from their files.
        deeper = (file for file in self.files(recursive=True) if len(file.below(self)) > 1)
        return sorted({self / file.below(self)[0] for file in deeper})

    def read_bytes(self, patiently: bool = True, most: int | None = None) -> bytes:
        """The file's content, of at most `most` bytes. Raises FileNotFoundError, OSError for what is no regular file or
        larger, and for an object store Unreachable unless `patiently`.
        """
        if self.store is None:
            return read_regular(Path(self.path), most)
        return self._tried(lambda: self._get(most), patiently)

    def modified(self) -> float:
        """Time of the last write, in seconds since the epoch, by the clock of the file system or store. Raises
        FileNotFoundError.
        """
        if self.store is None:
            return Path(self.path).stat().st_mtime
        info: fs.FileInfo = self._tried(lambda: self.filesystem.get_file_info(self.path))
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
        """Remove the file, if it exists."""
        with suppress(FileNotFoundError):
            if self.store is None:
                Path(self.path).unlink()
            else:
                self._tried(lambda: self.filesystem.delete_file(self.path), patiently)

    def make_folder(self) -> None:
        """Create the folder and its parents; object stores need none."""
        if self.store is None:
            Path(self.path).mkdir(parents=True, exist_ok=True)

    def _entries(self) -> list[Path]:
        """What is in this folder on this machine; empty if it is none."""
        try:
            return [Path(self.path, name) for name in os.listdir(self.path)]
        except OSError as error:
            _unless_missing(error)
            return []

    def _type(self) -> "fs.FileType":
        if self.store is None:
            path = Path(self.path)
            with _permitted():
                return (
                    fs.FileType.Directory
                    if path.is_dir()
                    else fs.FileType.File
                    if path.exists()
                    else fs.FileType.NotFound
                )
        return self._tried(lambda: self.filesystem.get_file_info(self.path)).type

    def _get(self, most: int | None) -> bytes:
        with self.filesystem.open_input_stream(self.path) as stream:
            content: bytes = stream.read(None if most is None else most + 1)
        refuse_larger(len(content), most, self.path)
        return content

    def _put(self, content: bytes) -> None:
        try:
            stream = self.filesystem.open_output_stream(self.path)
            stream.write(content)
            stream.close()  # not if writing failed: closing publishes the object
        except FileNotFoundError:  # from Google's store
            raise no_bucket(str(self)) from None

    def _tried(self, operation: Callable[[], Answer], patiently: bool = True) -> Answer:
        assert self.store is not None, "only for object stores"
        return self.store.patiently(operation) if patiently else self.store.once(operation)


def _walk(folder: str) -> Iterator[Path]:
    """The files below `folder`, through links to folders too, but through each folder once: links may form a circle."""
    seen = set()
    for here, names_of_folders, names in os.walk(folder, followlinks=True, onerror=_unless_missing):
        status = os.stat(here)
        if (place := (status.st_dev, status.st_ino)) in seen:
            names_of_folders.clear()
            continue
        seen.add(place)
        yield from (Path(here, name) for name in names)


Where: TypeAlias = str | os.PathLike[str] | Location
"""Anything that names the location of results."""


def located(where: Where) -> Location:
    """The location of a path or a URL; "~" is the home folder, as in a shell. Raises RaysmoothError for a URL that is
    not an object store's, for what no file that Arrow opens can be called, and for an object that is no path.
    """
    if isinstance(where, Location):
        return where
    if not isinstance(where, str | os.PathLike):
        raise RaysmoothError(f"{described(where)} is no path: write the path of a file or folder, or a URL")
    refuse_no_path(str(where), for_arrow=True)
    if not is_url(where):
        return Location(os.path.expanduser(where))
    store, path = bucket_of(str(where))
    return Location(path, store, urlsplit(str(where)).query)


def _unless_missing(error: OSError) -> None:
    """For `os.walk`, which passes over what it cannot list."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


@contextmanager
def _permitted() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        where = printable(str(error.filename))
        raise RaysmoothError(f"{where} cannot be read (permission denied): make it readable") from error
