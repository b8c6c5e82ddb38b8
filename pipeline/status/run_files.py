"""The files of the runs in a folder of results, read without locking or writing anything; a file that is not there yet
is not an error.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow.compute as pc

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, Manifest, ManifestError, RunFolder, manifests, refuse_no_runs
from raysmooth.pipeline.store.parts import part_files, read_part, session_of
from raysmooth.storage.location import Location, Where


@dataclass(frozen=True)
class Part:
    """A part of counts or of rows: the `session` that wrote it, and when (seconds since the epoch, by the clock of the
    file system). `draws` are those of its blocks, or of its finished images. Rows also have their number of `images`,
    the `errors` among them, and the text of the `first_error`.
    """

    session: str
    time: float
    draws: int
    images: int = 0
    errors: int = 0
    first_error: str | None = None


def drawn_manifests(out: Where) -> Iterator[tuple[RunFolder, Manifest]]:
    """The folder and the manifest of each run in `out` that draws; others are done at once, so they have no status.
    Raises RaysmoothError if there are no runs, or for a file that is not a manifest.
    """
    refuse_no_runs(out)
    try:
        yield from ((run, found) for run, found in manifests(out, "identity") if found.procedure in ROW_FOLDERS)
    except ManifestError as error:
        raise RaysmoothError(f"{error}: {error.remedy}") from None


class PartReader:
    """Reads every part once, as parts never change. Files with other names than a session's parts are ignored."""

    def __init__(self) -> None:
        self._known: dict[Location, Part] = {}

    def counts(self, folder: Location) -> list[Part]:
        return self._read(folder, _counts)

    def rows(self, folder: Location) -> list[Part]:
        return self._read(folder, _rows)

    def _read(self, folder: Location, read: Callable[[Location, str], Part]) -> list[Part]:
        found = [(file, session) for file in part_files(folder) if (session := session_of(file)) is not None]
        for file, session in found:
            if file not in self._known:
                self._known[file] = read(file, session)
        return [self._known[file] for file, _ in found]


def _counts(file: Location, session: str) -> Part:
    draws = pc.sum(read_part(file, columns=["draws"])["draws"]).as_py()
    return Part(session, file.modified(), draws or 0)


def _rows(file: Location, session: str) -> Part:
    table = read_part(file, columns=["image_id", "draws", "status", "error"])
    failed = table.filter(pc.equal(table["status"], "error"))
    first = f"image {failed['image_id'][0]}: {failed['error'][0]}" if failed.num_rows else None
    draws = pc.sum(table["draws"]).as_py() or 0
    return Part(session, file.modified(), draws, table.num_rows, failed.num_rows, first)
