"""Certificates of other tools as runs, so that published results can be part of our tables and curves.

A log has the result of each image but not the settings: the user supplies the known ones, and the rest stays null in
the rows. Nothing is drawn or computed: radii are those of the log, or the setting's largest where the log rounded that
up.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from math import floor
from pathlib import Path
from typing import Any

from raysmooth.actors.noise.families import noise_family
from raysmooth.common.errors import RaysmoothError, counted, described, printable
from raysmooth.common.warning import warn_caller
from raysmooth.pipeline.analysis.log_names import ANSWERS, imported_from
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.derived.answers_import import import_answers
from raysmooth.pipeline.derived.certification_log import RADIUS, CertificationLog, LogLine, NoCertificates, read_log
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.derived.log_noise import largest_radii, sigma_of
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.manifest import CERTIFICATES, RUNS, manifests, run_id
from raysmooth.pipeline.store.part_store import refuse_unwritable
from raysmooth.pipeline.store.parts import refuse_foreign_parts
from raysmooth.pipeline.store.run_store import RunStore

SCHEME = 1
"""Version of the import: raise it whenever the same log would give other rows."""

OF_LOG = "as in the log"
"""The `sigma_rule` of images whose levels a log has: it does not say how they were found."""

SIZES = {
    ("digits", "test"): 400,
    ("mnist", "test"): 10_000,
    ("mnist", "train"): 60_000,
    ("cifar10", "test"): 10_000,
    ("cifar10", "train"): 50_000,
    ("imagenet", "val"): 50_000,
}
"""Sizes of the usual data sets, known without opening them."""


@dataclass(frozen=True)
class ImportedLog:
    """A log that is now a run with `rows` rows, `new` unless it was imported before; `notes` are for the user."""

    path: Path
    run_id: str
    rows: int
    new: bool
    notes: list[str]


@dataclass(frozen=True)
class _LogRun:
    """A log to import, with the columns that are equal in all its rows, and the identity that follows from them.
    `largest` are the radii that its larger ones are capped at, by the level of their images; None where it has none.
    """

    log: CertificationLog
    facts: dict[str, Any]
    notes: list[str]
    largest: Mapping[float | None, float] | None

    @property
    def identity(self) -> dict[str, Any]:
        column = self.log.radius_column
        # Absent by default: logs that were imported by releases without these keep their run ids.
        decided: dict[str, Any] = {} if column == RADIUS else {"radius_column": column}
        if self.largest is not None:
            decided["radii"] = "capped"
        return {"import": SCHEME, "sha256": self.log.sha256, **self.facts, **decided}

    @property
    def source(self) -> str:
        """The column `source` of its rows."""
        return imported_from(str(self.log.path), self.log.radius_column, self.largest is not None)

    def manifest(self, settings: ImportSettings) -> dict[str, Any]:
        return {
            "run_id": run_id(self.identity),
            "identity": self.identity,
            "settings": settings.model_dump(),
            "num_classes": None,
            "imported": {
                "file": printable(str(self.log.path.resolve())),
                "source": self.source,
                "sha256": self.log.sha256,
                "rows": len(self.log.lines),
                "left_out": self.log.left_out,
                "reread": self.log.reread,
                "ignored_columns": self.log.ignored,
                "notes": self.notes,
            },
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def import_logs(
    logs: Sequence[str | Path], settings: ImportSettings, note: Callable[[str], None] = warn_caller
) -> list[ImportedLog]:
    """Write each log's certificates to `<out>/certificates/run_id=<id>`, in the format of `certify`, and its known
    facts to `<out>/runs/<id>/manifest.json`. Importing the same log with the same settings again changes nothing.

    A log without a certificate, among others that have some, is left out and named in `note`, unless
    `settings.strict`. Raises RaysmoothError, before anything is written, as `read_log` does, and for settings that the
    log contradicts.
    """
    if not len(logs):
        raise RaysmoothError("no log to import: name at least one")
    answers = [log for log in logs if str(log).endswith(ANSWERS)]
    if answers:
        if len(answers) < len(logs):
            raise RaysmoothError(
                f"{printable(str(answers[0]))} has answers, the others are logs: import them one by one"
            )
        return [ImportedLog(**vars(import_answers(file, settings))) for file in answers]
    runs = [_log_run(log, settings) for log in _read(logs, settings, note)]
    near = [] if settings.dataset in DATASETS else get_close_matches(settings.dataset, DATASETS, n=1, cutoff=0.8)
    if near:
        note(
            f"--dataset {settings.dataset} is taken as a name, as raysmooth reads no such data set: if {near[0]} was "
            "meant, remove these runs and import again"
        )
    known = _known(settings.out)
    for run in runs:
        key = run.log.sha256, run.log.radius_column
        earlier = known.setdefault(key, run.manifest(settings))
        names = dict.fromkeys([*run.identity, *earlier["identity"]])
        if differing := [name for name in names if earlier["identity"].get(name) != run.identity.get(name)]:
            facts = ", ".join(f"{name} {_shown(earlier['identity'].get(name))}" for name in differing)
            raise RaysmoothError(
                f"{run.log.shown} is already run {earlier['run_id']}, with {facts}: remove that run's folders below "
                f"{settings.out}/{RUNS} and {settings.out}/{CERTIFICATES} to import the log again"
            )
        for (sha256, column), other in known.items():
            same_file = other["imported"]["file"] == earlier["imported"]["file"]
            if sha256 != run.log.sha256 and column == run.log.radius_column and same_file:
                run.notes.append(
                    f"run {other['run_id']} is an earlier version of the same file: remove it if the log has grown"
                )
    refuse_unwritable(settings.out)
    refuse_foreign_parts(settings.out, PROCEDURES["certify"].folder)
    return [_written(run, settings) for run in runs]


def _read(logs: Sequence[str | Path], settings: ImportSettings, note: Callable[[str], None]) -> list[CertificationLog]:
    """The logs that have certificates; raises the first one's NoCertificates if none has."""
    read: list[CertificationLog] = []
    empty: list[NoCertificates] = []
    for path in [logs] if isinstance(logs, str | Path) else logs:
        if not isinstance(path, str | Path):
            raise RaysmoothError(f"{described(path)} is no log: write paths of logs")
        try:
            read.append(read_log(path, settings.radius_column, settings.image_sigmas))
        except NoCertificates as refusal:
            if settings.strict:
                raise
            empty.append(refusal)
    if not read:
        raise empty[0]
    for begun in empty:
        note(f"left out: {begun}")
    return read


def _written(run: _LogRun, settings: ImportSettings) -> ImportedLog:
    procedure, manifest = PROCEDURES["certify"], run.manifest(settings)
    with RunStore(settings.out, procedure.folder, procedure.schema, manifest) as store:
        missing = [line for line in run.log.lines if line.image_id not in store.finished]
        # All rows of a run have one source, though the file may have moved since a session that was killed.
        begun = store.manifest["imported"]
        source = begun.get("source") or imported_from(Path(begun["file"]).name)
        for line in missing:
            level = line.sigma if run.log.own_levels else None
            row = _row(line, level, None if run.largest is None else run.largest[level])
            store.add_row({**dict.fromkeys(procedure.schema.names), **run.facts, "source": source, **row})
        return ImportedLog(run.log.path, store.run_id, len(run.log.lines), bool(missing), run.notes)


def _row(line: LogLine, level: float | None, largest: float | None) -> dict[str, Any]:
    return {
        "image_id": line.image_id,
        "image_sigma": level,
        "label": line.label,
        "prediction": line.prediction,
        "abstain": line.prediction == ABSTAIN,
        "correct": line.prediction == line.label,
        "radius": line.radius if largest is None else min(line.radius, largest),
        "seconds": line.seconds,
        "status": "ok",
    }


def _log_run(log: CertificationLog, settings: ImportSettings) -> _LogRun:
    """The run of a log and the settings; raises RaysmoothError where they contradict each other."""
    notes = [f"{_lines(numbers)}: {what}" for what, numbers in {**log.left_out, **log.reread}.items()]
    if log.ignored:
        notes.append(f"columns left out: {', '.join(log.ignored)}")
    sigma = sigma_of(log, settings.sigma, notes)
    noise = noise_family(settings.noise, sigma)
    largest = largest_radii(log, noise, settings.n, settings.alpha)
    if above := [line for line in log.lines if line.radius > largest[line.sigma if log.own_levels else None]]:
        most = max(largest[line.sigma if log.own_levels else None] for line in above)
        shown = f"{floor(1e4 * most) / 1e4:.4f}"  # no radius is rounded up, in a note neither
        of = (
            "the largest radius of this setting" if not log.own_levels else "or less, the largest of each image's sigma"
        )
        notes.append(f"{_lines([line.number for line in above])}: rounded up, capped at {shown}, {of}")
    index_set, images = _index_set(log, settings)
    facts: dict[str, Any] = {
        "dataset": settings.dataset,
        "split": settings.split,
        "index_set": index_set,
        "classifier": settings.classifier,
        "denoiser": settings.denoiser,
        "objective": settings.objective,
        "noise": noise.name,
        "norm": noise.norm,
        "sigma": sigma,
        "n0": settings.n0,
        "n": settings.n,
        "alpha": settings.alpha,
        "images": images,
        # Absent otherwise: logs that were imported before keep their run ids.
        **({"sigma_rule": OF_LOG} if log.own_levels else {}),
    }
    if images is not None and len(log.lines) < images:
        notes.append(f"unfinished: {len(log.lines)} of {images} images")
    if unknown := [name for name, value in facts.items() if value is None]:
        flags = ["skip" if name == "index_set" else name for name in unknown]
        notes.append(f"unknown: {', '.join(unknown)} (supply them with --{', --'.join(dict.fromkeys(flags))})")
    return _LogRun(log, facts, notes, largest if above else None)


def _index_set(log: CertificationLog, settings: ImportSettings) -> tuple[str | None, int | None]:
    """The index set in words, and its size, as far as known."""
    dataset, split, images = settings.dataset, settings.split, settings.images
    start, skip = settings.start, settings.skip
    if start is None and skip is None:
        if images is not None and len(log.lines) > images:
            raise RaysmoothError(
                f"{log.shown} has {counted(len(log.lines), 'image')}: write --images {len(log.lines)} or more"
            )
        return None, images
    size = settings.dataset_size or SIZES.get((dataset, split or ""))
    if size is None:
        splits = [known for name, known in SIZES if name == dataset and split is None]
        remedy = f"--split {splits[0]}" if splits else "--dataset-size"
        raise RaysmoothError(
            f"--{'start' if skip is None else 'skip'} {start if skip is None else skip}: the number of images of "
            f"{dataset} is unknown: write {remedy} too"
        )
    index_set = IndexSet(size, skip=skip or 1, max=images, start=start or 0)
    if images is not None and len(index_set) < images:
        raise RaysmoothError(
            f"--images {images}: '{index_set.describe()}' has only {len(index_set)}: write --images {len(index_set)}"
        )
    for line in log.lines:
        if line.image_id not in index_set:
            raise RaysmoothError(
                f"{log.shown}, line {line.number}: image {line.image_id} is not in '{index_set.describe()}': write "
                "other --start, --skip or --images, or leave them out"
            )
    return index_set.describe(), len(index_set)


def _known(out: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The manifests of the runs that were imported earlier, by the SHA-256 of their logs and the columns of radii."""
    known: dict[tuple[str, str], Mapping[str, Any]] = {}
    for _, manifest in manifests(out, "identity", "imported", skip_bad=True):
        # A file that is not a manifest is passed over: no import depends on it.
        with suppress(KeyError, TypeError, AttributeError):
            known[manifest["imported"]["sha256"], manifest["identity"].get("radius_column", RADIUS)] = manifest
    return known


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _lines(numbers: list[int]) -> str:
    """'line 3', 'lines 3 and 9' or '500 lines, 502 to 1001'."""
    if len(numbers) > 2:
        return f"{len(numbers)} lines, {numbers[0]} to {numbers[-1]}"
    return f"line{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
