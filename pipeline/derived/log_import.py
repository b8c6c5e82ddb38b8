"""Certificates of other tools as runs of ours, so that published results stand in our tables and curves.

A log says what became of each image, and nothing of how: whoever imports it says what they know, and the rest stays
null in the rows. Nothing is drawn, and nothing computed: radii are as the log has them.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.settings import Settings
from raysmooth.pipeline.analysis.run_facts import IMPORTED
from raysmooth.pipeline.certification.certificate import ABSTAIN, largest_p_lower
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.derived.certification_log import CertificationLog, LogLine, read_log
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import run_id
from raysmooth.pipeline.store.manifest import manifests
from raysmooth.pipeline.store.parts import refuse_foreign_parts
from raysmooth.pipeline.store.run_store import RunStore, refuse_unwritable

SCHEME = 1
"""Version of how logs are read: to be raised whenever the same log would give other rows."""

SIZES = {
    ("digits", "test"): 400,
    ("mnist", "test"): 10_000,
    ("mnist", "train"): 60_000,
    ("cifar10", "test"): 10_000,
    ("cifar10", "train"): 50_000,
    ("imagenet", "val"): 50_000,
}
"""How many images those data sets have that everybody certifies: an index set is told without them."""

_IN_NAME = re.compile(r"(?<![a-z])(?:sigma|noise)[_=-]?([0-9]+\.[0-9]+|[1-9])(?![0-9])", re.IGNORECASE)


class ImportSettings(Settings):
    """What the logs do not say"""

    dataset: str = Field(description="Data set, such as cifar10.")
    split: str | None = Field(None, description="Part of the data set, such as test.")
    skip: int | None = Field(None, description="The runs took every SKIP-th image: idx 0, SKIP, 2 SKIP, ...", ge=1)
    images: int | None = Field(
        None,
        description="How many images the runs were to have; a log of fewer is an unfinished run. With --skip known by "
        "itself, unless they stopped early.",
        ge=1,
    )
    dataset_size: int | None = Field(
        None,
        description="Images in the split, of which --skip takes some; known for digits, mnist, cifar10, imagenet.",
        ge=1,
    )
    classifier: str = Field(description="Base classifier, such as cifar_resnet110.")
    denoiser: str | None = Field(None, description="Denoiser in front of it, such as dncnn; none for none.")
    objective: str | None = Field(None, description="What denoiser or classifier was trained with: gaussian, say.")
    noise: str = Field(
        "gaussian", description=f"Noise of the draws, which gives radii their norm: {', '.join(NOISES)}."
    )
    sigma: float | None = Field(
        None, description="Noise level in pixel units ([0, 1]). Default: that in the log's file name, as in sigma_0.25."
    )
    n0: int | None = Field(None, description="Selection draws an image.", ge=1)
    n: int | None = Field(None, description="Estimation draws an image.", ge=1)
    alpha: float | None = Field(None, description="Probability with which a certificate may be wrong.", gt=0, lt=1)
    out: str = Field("results", description="Folder of the results; each log becomes a run in it.")

    @model_validator(mode="after")
    def _refuse_unknown_split(self) -> "ImportSettings":
        if self.split is not None and self.dataset in DATASETS:
            row = DATASETS[self.dataset]
            if self.split not in row.splits and not row.other_splits:
                raise RaysmoothError(f"{self.dataset} has no split '{self.split}': {nearest(self.split, row.splits)}")
        return self


@dataclass(frozen=True)
class ImportedLog:
    """A log that is a run now: `rows` of them, `new` unless it was one before; `notes` say what a reader must know."""

    path: Path
    run_id: str
    rows: int
    new: bool
    notes: list[str]


@dataclass(frozen=True)
class _Job:
    """A log that may be imported: the columns that are equal in all its rows, and the identity that they give it."""

    log: CertificationLog
    facts: dict[str, Any]
    notes: list[str]

    @property
    def identity(self) -> dict[str, Any]:
        return {"import": SCHEME, "sha256": self.log.sha256, **self.facts}

    def manifest(self, settings: ImportSettings) -> dict[str, Any]:
        return {
            "run_id": run_id(self.identity),
            "identity": self.identity,
            "settings": settings.model_dump(),
            "num_classes": None,
            "imported": {
                "file": str(self.log.path.resolve()),
                "sha256": self.log.sha256,
                "rows": len(self.log.lines),
                "left_out": self.log.left_out,
                "ignored_columns": self.log.ignored,
                "notes": self.notes,
            },
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def import_logs(logs: Sequence[str | Path], settings: ImportSettings) -> list[ImportedLog]:
    """Write each log's certificates to `<out>/certificates/run_id=<id>`, as `certify` writes its own, and what is known
    of it to `<out>/runs/<id>/manifest.json`. The same log with the same settings is the same run, and left as it is.

    Raises RaysmoothError, before anything is written, as `read_log` does, and for settings that the log contradicts.
    """
    if not logs:
        raise RaysmoothError("no log to import: name at least one")
    jobs = [_job(read_log(path), settings) for path in logs]
    known = _known(settings.out)
    for job in jobs:
        earlier = known.setdefault(job.log.sha256, job.manifest(settings))
        if differing := [name for name, value in job.identity.items() if earlier["identity"].get(name) != value]:
            told = ", ".join(f"{name} {_said(earlier['identity'].get(name))}" for name in differing)
            raise RaysmoothError(
                f"{job.log.path} is run {earlier['run_id']} already, with {told}: remove that run's folders below "
                f"{settings.out}/runs and {settings.out}/certificates to import the log anew"
            )
        for sha256, other in known.items():
            if sha256 != job.log.sha256 and other["imported"]["file"] == earlier["imported"]["file"]:
                job.notes.append(f"run {other['run_id']} is the same file as it was: remove it if the log has grown")
    refuse_unwritable(settings.out)
    refuse_foreign_parts(settings.out, PROCEDURES["certify"].folder)
    return [_written(job, settings) for job in jobs]


def _written(job: _Job, settings: ImportSettings) -> ImportedLog:
    procedure, manifest = PROCEDURES["certify"], job.manifest(settings)
    with RunStore(settings.out, procedure.folder, procedure.schema, manifest) as store:
        missing = [line for line in job.log.lines if line.image_id not in store.finished]
        source = f"{IMPORTED}{Path(store.manifest['imported']['file']).name}"
        for line in missing:
            store.add_row({**dict.fromkeys(procedure.schema.names), **job.facts, "source": source, **_row(line)})
        return ImportedLog(job.log.path, store.run_id, len(job.log.lines), bool(missing), job.notes)


def _row(line: LogLine) -> dict[str, Any]:
    return {
        "image_id": line.image_id,
        "label": line.label,
        "prediction": line.prediction,
        "abstain": line.prediction == ABSTAIN,
        "correct": line.prediction == line.label,
        "radius": line.radius,
        "seconds": line.seconds,
        "status": "ok",
    }


def _job(log: CertificationLog, settings: ImportSettings) -> _Job:
    """What log and settings say together; raises RaysmoothError where they contradict each other."""
    notes = [f"{_lines(numbers)}: {what}" for what, numbers in log.left_out.items()]
    if log.ignored:
        notes.append(f"columns left out: {', '.join(log.ignored)}")
    sigma = _sigma(log, settings, notes)
    noise = noise_family(settings.noise, sigma)
    _refuse_impossible_radii(log, noise, settings)
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
    }
    if images is not None and len(log.lines) < images:
        notes.append(f"unfinished: {len(log.lines)} of {images} images")
    if unknown := [name for name, value in facts.items() if value is None]:
        flags = ["skip" if name == "index_set" else name for name in unknown]
        notes.append(f"not known: {', '.join(unknown)} (--{', --'.join(dict.fromkeys(flags))} would say)")
    return _Job(log, facts, notes)


def _sigma(log: CertificationLog, settings: ImportSettings, notes: list[str]) -> float:
    in_name = {float(found) for found in _IN_NAME.findall(log.path.name)}
    given = settings.sigma if settings.sigma is not None else log.sigma
    if given is None and len(in_name) == 1:
        given = in_name.pop()
        notes.append(f"sigma {given:g}, as its file name has it")
    if given is None:
        why = "names no sigma" if not in_name else "names several"
        raise RaysmoothError(
            f"{log.path}: its file name {why}: write --sigma 0.25, say, and logs of other sigmas apart"
        )
    if log.sigma not in (None, given):
        raise RaysmoothError(f"{log.path}: its column sigma says {log.sigma:g}: leave --sigma {given:g} out")
    if in_name and given not in in_name:
        notes.append(f"sigma {given:g}, although its file name has {', '.join(f'{s:g}' for s in sorted(in_name))}")
    return given


def _refuse_impossible_radii(log: CertificationLog, noise: NoiseFamily, settings: ImportSettings) -> None:
    """Raises RaysmoothError for radii that the noise, or n draws at level alpha, cannot give, however they came out."""
    line = max(log.lines, key=lambda line: line.radius)
    if _exceeds(line.radius, largest := noise.radius(1.0)):
        raise RaysmoothError(
            f"{log.path}, line {line.number}: radius {line.radius:g} is more than {noise.name} noise of "
            f"sigma={noise.scale:g} can give ({largest:.4f}): write --noise and --sigma of these logs"
        )
    if settings.n is None or settings.alpha is None:
        return
    if _exceeds(line.radius, largest := noise.radius(largest_p_lower(settings.n, settings.alpha))):
        raise RaysmoothError(
            f"{log.path}, line {line.number}: radius {line.radius:g} is more than sigma={noise.scale:g}, "
            f"n={settings.n} and alpha={settings.alpha:g} can give ({largest:.4f}): one of the three was another; "
            "leave --n and --alpha out if you do not know which"
        )


def _exceeds(radius: float, largest: float) -> bool:
    """Whether a log's radius is above `largest`: three digits of it, or two decimals, may have been rounded up."""
    return radius > 1.005 * largest + 0.005


def _index_set(log: CertificationLog, settings: ImportSettings) -> tuple[str | None, int | None]:
    """The index set's words and its size, as far as known."""
    dataset, split, images = settings.dataset, settings.split, settings.images
    if settings.skip is None:
        if images is not None and len(log.lines) > images:
            raise RaysmoothError(f"{log.path} has {len(log.lines)} images: write --images {len(log.lines)} or more")
        return None, images
    size = settings.dataset_size or SIZES.get((dataset, split or ""))
    if size is None:
        splits = [known for name, known in SIZES if name == dataset and split is None]
        remedy = f"--split {splits[0]}" if splits else "--dataset-size"
        raise RaysmoothError(f"--skip {settings.skip} of how many images of {dataset}? Write {remedy} too")
    index_set = IndexSet(size, skip=settings.skip, max=images)
    if images is not None and len(index_set) < images:
        raise RaysmoothError(
            f"--images {images}: '{index_set.describe()}' has no more than {len(index_set)}, write that"
        )
    for line in log.lines:
        if line.image_id not in index_set:
            raise RaysmoothError(
                f"{log.path}, line {line.number}: image {line.image_id} is not in '{index_set.describe()}': write "
                "another --skip or --images, or leave them out"
            )
    return index_set.describe(), len(index_set)


def _known(out: str) -> dict[str, Mapping[str, Any]]:
    """The manifests of the runs that are imported already, by the SHA-256 of their logs."""
    known: dict[str, Mapping[str, Any]] = {}
    for _, manifest in manifests(out, "identity", "imported", skip_bad=True):
        with suppress(KeyError, TypeError):  # a file that is not a manifest is passed over: no import depends on it
            known[manifest["imported"]["sha256"]] = manifest
    return known


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _lines(numbers: list[int]) -> str:
    """'line 3', 'lines 3 and 9' or '500 lines, 502 to 1001'."""
    if len(numbers) > 2:
        return f"{len(numbers)} lines, {numbers[0]} to {numbers[-1]}"
    return f"line{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
