"""Weights and data that are given as URLs, as files on this machine: fetched once, kept in a cache folder.

A file's name there is made of its URL, size and time of change, so that one that changes is fetched anew; what a run
depends on is told by fingerprints of what is inside, as ever. Anything there may be deleted at any time.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.object_store import ObjectStore, tell
from raysmooth.storage.store_urls import bucket_of, is_url

CHUNK = 16 * 2**20
"""Bytes that are asked for at once: what a lost connection costs."""

READERS = 16
"""Files of a folder that are fetched at once."""


def local_copy(path: str | os.PathLike[str]) -> Path:
    """`path` itself, or where on this machine what its URL names is, a file or a folder with all below it.

    Raises RaysmoothError for a URL of nothing, a store that denies access or stays away, and a cache that cannot be written.
    """
    if not is_url(path):
        return Path(path)
    url, (store, where) = str(path), bucket_of(str(path))
    found = store.files(where)
    if not found:
        raise RaysmoothError(f"{url}: there is nothing of that name: write the URL of a file or a folder of files")
    if strange := [name for name, _, _ in found if ".." in name.split("/")]:
        raise RaysmoothError(f"{url} has an object named {strange[0]}, which would lie elsewhere on a disk: remove it")
    told = "".join(f"\0{name}\0{size}\0{changed}" for name, size, changed in found)
    digest = hashlib.sha256(f"{url}{told}".encode()).hexdigest()[:16]
    target = _cache_folder() / digest / (where.rpartition("/")[2] or "all")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(target.parent / ".lock"):
            _fetch(store, url, found, where, target)
    except FileNotFoundError:
        raise RaysmoothError(
            f"{url} was changed while it was fetched: run the command again when it is whole"
        ) from None
    except OSError as error:
        raise RaysmoothError(
            f"{url} cannot be kept in {target.parent} ({error.strerror or error}): make room, or set XDG_CACHE_HOME"
        ) from error
    return target


def _fetch(store: ObjectStore, url: str, found: list[tuple[str, int, Any]], where: str, target: Path) -> None:
    """Fetch those of the files that are not there yet; who was killed over a folder goes on with the rest."""
    wanted = [(name, size, target / name.removeprefix(where).lstrip("/")) for name, size, _ in found]
    missing = [(name, size, file) for name, size, file in wanted if not file.is_file()]
    if not missing:
        return
    size = sum(size for _, size, _ in missing)
    tell(f"fetching {url}: {len(missing):,} file{'s' * (len(missing) > 1)}, {size / 1e6:,.1f} MB, into {target}")
    for folder in {file.parent for _, _, file in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(READERS) as readers:
        for _ in readers.map(lambda one: _fetch_file(store, *one), missing):
            pass
    if store.files(where) != found:
        for _, _, file in missing:
            file.unlink(missing_ok=True)
        raise RaysmoothError(f"{url} was changed while it was fetched: run the command again when it is whole")


def _fetch_file(store: ObjectStore, name: str, size: int, file: Path) -> None:
    with atomic_file(file) as unfinished, unfinished.open("wb") as copy:
        source = store.patiently(lambda: store.filesystem.open_input_file(name))
        for start in range(0, size, CHUNK):
            copy.write(store.patiently(partial(source.read_at, min(CHUNK, size - start), start)))


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Replicas of a machine all want the same weights: one fetches them, the others wait for it."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "raysmooth", "fetched")
