"""The files of the runs in a folder of results, read without locking or writing anything; a file that is not there yet
is not an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.common.errors import RaysmoothError, named_image, printable
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, Manifest, ManifestError, RunFolder, manifests, refuse_no_runs
from raysmooth.pipeline.store.parts import foreign, part_files, read_part, session_of
from raysmooth.pipeline.store.row_checks import bad_row
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


def status_manifests(out: Where) -> list[tuple[RunFolder, Manifest]]:
    """The folder and the manifest of each run in `out` that draws. Others, imported or recertified, were finished at
    once: they are listed only where no run draws. Raises RaysmoothError if there is no folder of runs, or for a file
    that is not a manifest.
    """
    refuse_no_runs(out)
    try:
        found = list(manifests(out, "identity"))
        return [(run, manifest) for run, manifest in found if manifest.procedure in ROW_FOLDERS] or found
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

    def sigmas(self, folder: Location, passes: int) -> list[Part]:
        """Those of a search, whose images each take `passes` forward passes, which count as draws."""
        return self._read(folder, partial(_sigmas, passes=passes))

    def _read(self, folder: Location, read: Callable[[Location, str], Part]) -> list[Part]:
        found = [(file, session) for file in part_files(folder) if (session := session_of(file)) is not None]
        for file, session in found:
            if file not in self._known:
                self._known[file] = read(file, session)
        return [self._known[file] for file, _ in found]


def _counts(file: Location, session: str) -> Part:
    draws = _numbers(file, _with(file, "draws"), "draws")
    return Part(session, file.modified(), draws)


def _rows(file: Location, session: str) -> Part:
    table = _with(file, "image_id", "draws", "status", "error", also=("images", "index_set", "file"))
    if (wrong := bad_row(table)) is not None:
        raise foreign(file, wrong)
    failed = table.filter(pc.equal(table["status"], "error"))
    draws = _numbers(file, table, "draws")
    return Part(session, file.modified(), draws, table.num_rows, failed.num_rows, _first_error(failed))


def _sigmas(file: Location, session: str, passes: int) -> Part:
    """Of rows of a search: an image has one for each step."""
    table = _with(file, "image_id", "status", "error", also=("images", "index_set", "file"))
    if (wrong := bad_row(table)) is not None:
        raise foreign(file, wrong)
    images, failed = pc.count_distinct(table["image_id"]).as_py(), table.filter(pc.equal(table["status"], "error"))
    return Part(session, file.modified(), images * passes, images, failed.num_rows, _first_error(failed))


def _first_error(failed: pa.Table) -> str | None:
    if not failed.num_rows:
        return None
    row = failed.slice(0, 1).to_pylist()[0]
    return f"{named_image(row['image_id'], row.get('file'))}: {printable(str(row['error']))}"


def _with(file: Location, *columns: str, also: tuple[str, ...] = ()) -> pa.Table:
    """These columns of a part, and those of `also` that it has; raises RaysmoothError if one is missing."""
    table = read_part(file, columns=[*columns, *also])
    if missing := [name for name in columns if name not in table.column_names]:
        raise foreign(file, f"lacks the column {missing[0]}")
    return table


def _numbers(file: Location, table: pa.Table, name: str) -> int:
    """The sum of a column of numbers of draws; raises RaysmoothError for one that is none."""
    kind = table.schema.field(name).type
    if pa.types.is_null(kind):
        return 0
    if not pa.types.is_integer(kind) or (table.num_rows and (pc.min(table[name]).as_py() or 0) < 0):
        raise foreign(file, f"has {name} that are no numbers of draws")
    return int(pc.sum(table[name]).as_py() or 0)
