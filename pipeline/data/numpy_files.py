"""Arrays in NumPy's files, .npy and .npz, read without trusting them: numbers only, of the size that they state."""

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.data.images import UnreadableImage, portable_reason

LARGEST_FILE = 2**36
"""Bytes of a .npy file, which is read an image at a time."""

LARGEST_IN_MEMORY = 2**33
"""Bytes of an array that is read whole: labels, and all of a .npz."""


@dataclass(frozen=True)
class StoredArray:
    """The array `key` in the file `path`; its `shape` and `dtype` are those of its header."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    zipped: bool

    def __str__(self) -> str:
        return f"{printable(self.key)} in {self.path}" if self.zipped else str(self.path)

    @property
    def place(self) -> str:
        """Where it is, without folders."""
        return f"{self.path.name};{self.key}" if self.zipped else self.path.name

    def whole(self) -> np.ndarray:
        """All of it; raises RaysmoothError if it is damaged or too large for memory."""
        size = prod(self.shape) * self.dtype.itemsize
        if size > LARGEST_IN_MEMORY:
            remedy = ": write .npy files, whose images are read one at a time" if self.zipped else ""
            raise RaysmoothError(f"{self} has {size / 2**30:.1f} GiB, which must fit in memory{remedy}")
        try:
            if not self.zipped:
                return np.load(self.path, allow_pickle=False)
            with ZipFile(self.path) as archive, archive.open(f"{self.key}.npy") as member:
                return npy.read_array(member, allow_pickle=False)
        except Exception as error:  # zipfile and its decompressors raise many kinds for damaged bytes
            raise RaysmoothError(f"{self} cannot be read ({portable_reason(error)}): fetch or write it again") from None

    def row(self, index: int, number: int = 1) -> np.ndarray:
        """`number` elements from `index` of the first axis on, of a .npy file. It is read, not mapped: a file that is
        cut while it is mapped ends the process. Raises UnreadableImage.
        """
        shape = (number, *self.shape[1:])
        size = prod(shape) * self.dtype.itemsize
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset + index * size // number)
                content = file.read(size)
        except OSError as error:
            raise UnreadableImage(index, error.strerror or type(error).__name__) from None
        if len(content) < size:
            raise UnreadableImage(index, f"{self.path.name} ends before it")
        return np.frombuffer(content, self.dtype).reshape(shape)


def stored_arrays(name: str, root: Path) -> Mapping[str, StoredArray]:
    """The arrays of a .npz file by their keys, or those of the .npy files in a folder by the files' names. `name` is
    that of the data set. Raises RaysmoothError for a .npz that is damaged; taking an array from the mapping does for
    one that is damaged or not of numbers: the others do not matter.
    """
    if root.is_dir():
        found = sorted(path for path in root.iterdir() if path.suffix == ".npy" and not path.name.startswith("."))
        files = {path.stem: path for path in found}
        return _Arrays(name, list(files), lambda key: _in_file(name, files[key], key))
    _refuse_odd_file(name, root)
    with _damage_is_refused(name, root), ZipFile(root) as archive:
        names = archive.namelist()
    if twice := next((member for member in names if names.count(member) > 1), None):
        raise RaysmoothError(f"{name}: {root} has {printable(twice)} twice: write it again")
    keys = [member.removesuffix(".npy") for member in names if member.endswith(".npy")]
    return _Arrays(name, keys, lambda key: _in_archive(name, root, key))


@dataclass(frozen=True)
class _Arrays(Mapping[str, StoredArray]):
    """`read` reads the header of an array when it is taken."""

    name: str
    found: Sequence[str]
    read: Callable[[str], StoredArray]

    def __getitem__(self, key: str) -> StoredArray:
        if key not in self.found:
            raise KeyError(key)
        return self.read(key)

    def __contains__(self, key: object) -> bool:
        return key in self.found

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def _in_file(name: str, path: Path, key: str) -> StoredArray:
    _refuse_odd_file(name, path)
    with _damage_is_refused(name, path), path.open("rb") as file:
        return _array(path, key, file, path.stat().st_size, zipped=False)


def _in_archive(name: str, path: Path, key: str) -> StoredArray:
    with _damage_is_refused(name, path), ZipFile(path) as archive:
        member = archive.getinfo(f"{key}.npy")
        with archive.open(member) as file:
            return _array(path, key, file, member.file_size, zipped=True)


def _array(path: Path, key: str, file: IO[bytes], size: int, zipped: bool) -> StoredArray:
    """The array of an open file of `size` bytes. Raises RaysmoothError if it has Python objects or is cut, and any
    error for another content.
    """
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, in_columns, dtype = read_header(file)
    array = StoredArray(path, key, shape, dtype, file.tell(), zipped)
    if dtype.hasobject:
        raise RaysmoothError(f"{array} holds Python objects, which could run code when read: write an array of numbers")
    if min(shape, default=1) < 0 or array.offset + prod(shape) * dtype.itemsize != size:
        raise RaysmoothError(
            f"{array} is cut or damaged: an array {shape} of {dtype} is not {size} bytes long: fetch or write it again"
        )
    if in_columns and len(shape) > 1 and not zipped:
        raise RaysmoothError(f"{array} is in Fortran's order: write it again with np.ascontiguousarray")
    return array


def _refuse_odd_file(name: str, path: Path) -> None:
    """Only regular files of sane size are opened: a pipe would be waited for."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise RaysmoothError(f"{name}: {path} is not a regular file")
    if status.st_size > LARGEST_FILE:
        raise RaysmoothError(f"{name}: {path} has {status.st_size / 2**30:.0f} GiB: write it in several parts")


@contextmanager
def _damage_is_refused(name: str, path: Path) -> Iterator[None]:
    try:
        yield
    except RaysmoothError:
        raise
    except Exception as error:  # zipfile, NumPy's reader of headers and decompressors raise many kinds
        raise RaysmoothError(
            f"{name}: {path} is no NumPy file, or damaged ({portable_reason(error)}): fetch or write it again"
        ) from None
