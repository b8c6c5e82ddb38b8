"""Reading of files that others may have written: only regular ones, and only up to a size."""

import errno
import os
import stat
from pathlib import Path
from typing import Literal, TextIO, cast


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises OSError, before anything is read, for a folder, a FIFO, a device or a larger file: a FIFO would be waited
    for without end, a sparse file or a device fill the memory.
    """
    _refuse_irregular(os.stat(path), path)  # before opening it, which has effects for some devices
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        _refuse_irregular(status, path)
        refuse_larger(status.st_size, most, path)
        content = file.read() if most is None else file.read(most + 1)
    refuse_larger(len(content), most, path)
    return content


_FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a+": os.O_RDWR | os.O_CREAT | os.O_APPEND}


def open_lock(path: Path, mode: Literal["r", "w", "a+"]) -> TextIO:
    """Open a file to lock it, in a folder that others may have filled. Raises OSError for a link, which may lead to a
    file of the user's, and for what is no regular file.
    """
    descriptor = os.open(path, _FLAGS[mode] | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        _refuse_irregular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return cast(TextIO, os.fdopen(descriptor, mode))


def refuse_unfit(path: str | os.PathLike[str], most: int | None = None) -> None:
    """Raises OSError for what `read_regular` would not read, before a library opens it by its name."""
    status = os.stat(path)
    _refuse_irregular(status, path)
    refuse_larger(status.st_size, most, path)


def refuse_larger(size: int, most: int | None, path: str | os.PathLike[str]) -> None:
    """Raises OSError for a size in bytes above `most`."""
    if most is not None and size > most:
        limit = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most:,} bytes"
        raise OSError(errno.EFBIG, f"larger than {limit}", os.fspath(path))


def _refuse_irregular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
