"""Weights and data given as URLs: downloaded once into a cache folder on this machine.

Cached names contain a hash of URL, size and modification time, so that a changed file is downloaded again. The identity
of a run depends on fingerprints of the content as always. The cache may be deleted at any time. Only its owner can read
it: the buckets may be private.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.object_store import ObjectStore, notify
from raysmooth.storage.store_urls import bucket_of, is_url

CHUNK = 16 * 2**20
"""Bytes per request, the most that a lost connection costs."""

READERS = 16
"""Files of a folder that are downloaded in parallel."""


def local_copy(path: str | os.PathLike[str], only: tuple[str, ...] = ("",)) -> Path:
    """`path` itself, or the local copy of the file or folder that its URL names; of a folder, of the files whose names
    end with one of `only`.

    Raises RaysmoothError for a URL without a file, a store that denies access or cannot be reached, and a cache that is
    not writable.
    """
    if not is_url(path):
        return Path(path)
    url, (store, where) = str(path), bucket_of(str(path))
    found = _listed(store, where, only)
    if not found:
        raise RaysmoothError(f"{url}: there is no file of this name: write the URL of a file or of a folder with files")
    if strange := [name for name, _, _ in found if ".." in name.split("/")]:
        raise RaysmoothError(
            f"{url} has an object named {strange[0]}, which would leave the folder on a disk: remove it"
        )
    listing = "".join(f"\0{name}\0{size}\0{changed}" for name, size, changed in found)
    digest = hashlib.sha256(f"{url}{listing}".encode()).hexdigest()[:16]
    target = _cache_folder() / digest / (where.rpartition("/")[2] or "all")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _make_private(_cache_folder(), 0o700)
        with _one_at_a_time(target.parent / ".lock"):
            _fetch(store, url, found, where, target, only)
    except FileNotFoundError:
        raise RaysmoothError(f"{url} changed during the download: rerun the command when it is complete") from None
    except OSError as error:
        raise RaysmoothError(
            f"{url} cannot be cached in {target.parent} ({error.strerror or error}): free space, or set XDG_CACHE_HOME"
        ) from error
    return target


def _listed(store: ObjectStore, where: str, only: tuple[str, ...]) -> list[tuple[str, int, Any]]:
    return [one for one in store.files(where) if one[0] == where or one[0].endswith(only)]


def _fetch(
    store: ObjectStore, url: str, found: list[tuple[str, int, Any]], where: str, target: Path, only: tuple[str, ...]
) -> None:
    """Download the files that are missing or of another size; a killed download of a folder resumes with them."""
    wanted = [(name, size, target / name.removeprefix(where).lstrip("/")) for name, size, _ in found]
    missing = [(name, size, file) for name, size, file in wanted if not _is_whole(file, size)]
    if not missing:
        return
    size = sum(size for _, size, _ in missing)
    notify(f"downloading {url}: {len(missing):,} file{'s' * (len(missing) > 1)}, {size / 1e6:,.1f} MB, into {target}")
    for folder in {file.parent for _, _, file in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(READERS) as readers:
        for _ in readers.map(lambda one: _fetch_file(store, *one), missing):
            pass
    if _listed(store, where, only) != found:
        for _, _, file in missing:
            file.unlink(missing_ok=True)
        raise RaysmoothError(f"{url} changed during the download: rerun the command when it is complete")


def _is_whole(file: Path, size: int) -> bool:
    """Whether the file is there with its `size`. Files of earlier versions, which others could read, become private."""
    if not file.is_file():
        return False
    status = file.stat()
    _make_private(file, 0o600)
    return status.st_size == size


def _make_private(path: Path, mode: int) -> None:
    with suppress(PermissionError):  # another user's, who shares a cache on purpose
        if path.stat().st_mode & 0o077:
            path.chmod(mode)


def _fetch_file(store: ObjectStore, name: str, size: int, file: Path) -> None:
    with atomic_file(file) as partial_file:
        partial_file.unlink(missing_ok=True)
        with open(partial_file, "xb", opener=_private) as copy:
            source = store.patiently(lambda: store.filesystem.open_input_file(name))
            for start in range(0, size, CHUNK):
                copy.write(store.patiently(partial(source.read_at, min(CHUNK, size - start), start)))
        if partial_file.stat().st_size != size:
            raise FileNotFoundError(name)  # the object is shorter than it was


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """All replicas of a machine need the same weights: one downloads them, the others wait."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "raysmooth", "fetched")
