"""Where a run's files are in a folder of results, and its manifest, which says what the run is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.hashing import settings_hash
from raysmooth.pipeline.store.manifest_record import check_manifest
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.records import BadRecord, UnreadableRecord, read_json, shown, shown_path
from raysmooth.storage.store_urls import is_url

RUNS = "runs"
CERTIFICATES, PREDICTIONS, SIGMAS = "certificates", "predictions", "sigmas"
SEARCH = "optimize-sigma"
"""The procedure that finds a noise level for each image."""

ROW_FOLDERS = {"certify": CERTIFICATES, "predict": PREDICTIONS, SEARCH: SIGMAS}
"""Folders of rows by procedure."""


_RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class ManifestError(RaysmoothError):
    """There is no manifest (`is_missing`), it cannot be read, or it is not one of raysmooth's. The message names the
    file; a caller that refuses adds the `remedy`.
    """

    def __init__(self, message: str, is_missing: bool = False, remedy: str = "move its folder away") -> None:
        super().__init__(message)
        self.is_missing, self.remedy = is_missing, remedy


class NoRuns(RaysmoothError):
    """A folder holds no runs, or none of the kind that is asked for; there may be some later."""


@dataclass(frozen=True, order=True)
class RunFolder:
    """The files of the run `run_id` in the results `out`:

    <out>/runs/<run id>/manifest.json, progress.json, counts/part-*.parquet
    <out>/<certificates, predictions, sigmas>/run_id=<run id>/part-*.parquet
    """

    out: Location
    run_id: str

    @classmethod
    def of(cls, out: Where, run_id: str) -> "RunFolder":
        """Raises RaysmoothError for an id that would lead elsewhere, as a folder's name or a row may have it."""
        if not _RUN_ID.fullmatch(run_id) or run_id in (".", ".."):
            raise RaysmoothError(f"{out} has a run '{printable(run_id)}', which is no run id: move its folders away")
        return cls(located(out), run_id)

    @property
    def home(self) -> Location:
        return self.out / RUNS / self.run_id

    @property
    def manifest(self) -> Location:
        return self.home / "manifest.json"

    @property
    def progress(self) -> Location:
        return self.home / "progress.json"

    @property
    def counts(self) -> Location:
        return self.home / "counts"

    def rows(self, folder: str) -> Location:
        """Its rows in `folder`, which is that of its procedure, such as "certificates"."""
        return self.out / folder / f"run_id={self.run_id}"


class Manifest(Mapping[str, Any]):
    """What manifest.json says: `identity`, a hash of which is the run id, and facts for the reader."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = self["identity"]
        return identity

    @property
    def procedure(self) -> str:
        """The name of its procedure, such as "certify"."""
        return str(self.identity.get("procedure"))


def run_folders(out: Where) -> list[RunFolder]:
    """The runs in `out` by their folders, in the order of their ids."""
    home = located(out)
    return [RunFolder(home, folder.name) for folder in (home / RUNS).folders()]


def has_local_runs(out: str) -> bool:
    """Whether a folder of this machine holds runs; False for an object store, which is not asked. At once: pyarrow is
    not loaded for it.
    """
    return not is_url(out) and Path(out, RUNS).is_dir()


def refuse_file(out: str) -> None:
    """Raises RaysmoothError where --out is a file, or below one. At once, like `has_local_runs`."""
    if is_url(out):
        return
    for place in (Path(out), *Path(out).parents):
        if place.exists():
            if not place.is_dir():
                reason = "File exists" if place == Path(out) else "Not a directory"
                raise RaysmoothError(f"--out {out}: {reason}: name a writable folder")
            return


def refuse_no_runs(out: Where) -> None:
    """Raises NoRuns if there is no folder of runs in `out`, and RaysmoothError if `out` is a file."""
    home = located(out) / RUNS
    if not home.is_folder():
        if home.parent.exists() and not home.parent.is_folder():
            raise RaysmoothError(f"{home.parent} is a file: give the results folder (--out) of 'raysmooth certify'")
        raise NoRuns(f"there is no {home}: give the results folder (--out) of 'raysmooth certify'")


def run_id(identity: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of the identity's canonical JSON, for a run of any kind."""
    return settings_hash(identity)[:16]


def read_manifest(run: RunFolder, *needed: str) -> Manifest:
    """The run's manifest, with the keys `needed`.

    Raises ManifestError if there is none, if it is not a JSON object with these keys, for a value that none can have
    (`check_manifest`), and for an identity that is not the one whose hash is the run id.
    """
    where = f"{shown_path(run.manifest)} is not a raysmooth manifest"
    try:
        values = read_json(run.manifest, where=where)
        if isinstance(values, dict) and (missing := [name for name in needed if name not in values]):
            raise BadRecord(f"{where}: lacks the key {missing[0]}")
        check_manifest(values, where)
        _refuse_another_id(run, values, where)
    except FileNotFoundError:
        raise ManifestError(f"there is no {shown_path(run.manifest)}", is_missing=True) from None
    except UnreadableRecord as refusal:
        raise ManifestError(str(refusal), remedy="make it a readable file, or move its folder away") from None
    except BadRecord as refusal:
        raise ManifestError(str(refusal)) from None
    return Manifest(values)


def _refuse_another_id(run: RunFolder, values: Mapping[str, Any], where: str) -> None:
    """Before any of its values is used: an edited identity would give other radii to the same counts."""
    if values.get("run_id", run.run_id) != run.run_id:
        raise BadRecord(f"{where}: run_id is {shown(values['run_id'])}, expected that of its folder, {run.run_id}")
    if isinstance(identity := values.get("identity"), dict) and (found := run_id(identity)) != run.run_id:
        raise BadRecord(
            f"{where}: identity has the hash {found}, expected that of its folder, {run.run_id}: it was edited, or "
            "belongs to another run"
        )


def without_manifest(out: Where, *procedures: str) -> list[str]:
    """The ids of the runs that have rows of the `procedures` in `out` (of any, by default), but no manifest: it was
    deleted, or not copied with them.
    """
    home = located(out)
    rows = [home / ROW_FOLDERS[procedure] for procedure in procedures or ROW_FOLDERS]
    names = {folder.name for place in rows for folder in place.folders()}
    ids = sorted(name.removeprefix("run_id=") for name in names if name.startswith("run_id="))
    return [one for one in ids if _RUN_ID.fullmatch(one) and not RunFolder(home, one).manifest.exists()]


def missing_manifests(runs: Sequence[str], consequence: str) -> str:
    """A line about runs that have rows but no manifest."""
    named = ", ".join(printable(run) for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
    return (
        f"{len(runs)} run{'s' * (len(runs) > 1)} with rows but without runs/<run id>/manifest.json ({named}): "
        f"{consequence}; copy the whole folder of results, runs/ too"
    )


def manifests(out: Where, *needed: str, skip_bad: bool = False) -> Iterator[tuple[RunFolder, Manifest]]:
    """The manifests in `out`, in the order of run ids; runs without one are passed over. Raises ManifestError for one
    that `read_manifest` refuses, unless `skip_bad`.
    """
    for run in run_folders(out):
        try:
            manifest = read_manifest(run, *needed)
        except ManifestError as error:
            if error.is_missing or skip_bad:
                continue
            raise
        yield run, manifest
