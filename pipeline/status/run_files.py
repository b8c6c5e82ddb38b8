"""What the runs of a folder of results have on disk, read for somebody who only watches: nothing is locked, written or
refused that the next moment may bring.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.parts import read_part
from raysmooth.storage.location import Location, Where, located

FOLDERS = {"certify": "certificates", "predict": "predictions"}
"""Where the rows of a procedure go; those of other procedures are made at once, and nobody watches them."""


@dataclass(frozen=True)
class Part:
    """A part of counts or of rows: the `session` that wrote it, and when (seconds since the epoch, by the clock of
    files). `draws` are those of its blocks, or of its finished images; of rows also the number of `images`, of `errors`
    among them, and the `first_error`, in words.
    """

    session: str
    time: float
    draws: int
    images: int = 0
    errors: int = 0
    first_error: str | None = None


def drawn_manifests(out: Where) -> Iterator[tuple[Location, Mapping[str, Any]]]:
    """The folder and the manifest of each run in `out` that draws, or did. Raises RaysmoothError where there are no runs."""
    home = located(out) / "runs"
    if not home.is_folder():
        raise RaysmoothError(f"there is no {home}: give the results folder (--out) of 'raysmooth certify'")
    for folder in home.folders():
        file = folder / "manifest.json"
        if not file.exists():
            continue
        try:
            manifest = json.loads(file.read_text())
            procedure = manifest["identity"].get("procedure")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RaysmoothError(f"{file} is not a raysmooth manifest: move its folder away") from None
        if procedure in FOLDERS:
            yield folder, manifest


class PartReader:
    """Reads parts, each once: no part is ever written again."""

    def __init__(self) -> None:
        self._known: dict[Location, Part] = {}

    def counts(self, folder: Location) -> list[Part]:
        return [self._counts(path) for path in _part_files(folder)]

    def rows(self, folder: Location) -> list[Part]:
        return [self._rows(path) for path in _part_files(folder)]

    def _counts(self, path: Location) -> Part:
        if path not in self._known:
            draws = pc.sum(read_part(path, columns=["draws"])["draws"]).as_py()
            self._known[path] = Part(_session(path), path.modified(), draws or 0)
        return self._known[path]

    def _rows(self, path: Location) -> Part:
        if path not in self._known:
            table = read_part(path, columns=["image_id", "draws", "status", "error"])
            failed = table.filter(pc.equal(table["status"], "error"))
            first = f"image {failed['image_id'][0]}: {failed['error'][0]}" if failed.num_rows else None
            draws = pc.sum(table["draws"]).as_py() or 0
            part = Part(_session(path), path.modified(), draws, table.num_rows, failed.num_rows, first)
            self._known[path] = part
        return self._known[path]


def _part_files(folder: Location) -> list[Location]:
    return [file for file in folder.files() if file.name.startswith("part-") and file.name.endswith(".parquet")]


def _session(path: Location) -> str:
    """part-SESSION-NUMBER.parquet"""
    return path.name.removesuffix(".parquet").split("-")[1]
