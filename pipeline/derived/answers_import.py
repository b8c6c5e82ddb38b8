"""Answers that others have paid for, certified here: a run marked as imported, from a file of JSON lines."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from raysmooth.actors.models.rejectors import UNANSWERED
from raysmooth.actors.noise.families import noise_family
from raysmooth.common.errors import RaysmoothError, counted, printable
from raysmooth.pipeline.analysis.log_names import imported_from
from raysmooth.pipeline.certification.sampling_rule import Fixed
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.queries.answer_lines import ROLES, answer_lines
from raysmooth.pipeline.queries.label_rules import read_label_rule
from raysmooth.pipeline.runs.procedures import PROCEDURES, Whose
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.run_store import RunStore

SCHEME = 1
"""Version of the import: raise it whenever the same answers would give other rows."""

_CERTIFY = PROCEDURES["certify"]


@dataclass(frozen=True)
class ImportedAnswers:
    """A file of answers that is now a run with `rows` rows, `new` unless it was imported before."""

    path: Path
    run_id: str
    rows: int
    new: bool
    notes: list[str] = field(default_factory=list)


def import_answers(path: str | Path, settings: ImportSettings) -> ImportedAnswers:
    """Certify the answers in a file, with n0 selection and n estimation draws of each image, and write the rows as a
    run of their own. Where a line answers the image itself (role reference), its label is what counts as right.

    Raises RaysmoothError, before anything is written, as `answer_lines`, where a setting is missing that certificates
    depend on, and for images that lack draws.
    """
    shown = printable(str(path))
    if missing := [name for name in ("sigma", "n0", "n", "alpha") if getattr(settings, name) is None]:
        raise RaysmoothError(
            f"{shown}: answers become certificates with --{', --'.join(missing)}: write how they were made"
        )
    assert settings.sigma is not None
    assert settings.n0 is not None
    assert settings.n is not None
    assert settings.alpha is not None
    label_rule, noise = read_label_rule(settings.label_rule), noise_family(settings.noise, settings.sigma)
    labels: dict[str, int] = {}
    images: dict[int | str, dict[str, dict[int, int | None]]] = {}
    content = hashlib.sha256()
    for line in answer_lines(str(path), content):
        answer = line.answer(lambda number: "")
        label = None if answer.refused is not None else label_rule.label_of(answer.tags)
        code = None if label is None else labels.setdefault(label, len(labels))
        images.setdefault(line.image, {}).setdefault(line.role, {})[line.draw] = code
    needed = {"selection": settings.n0, "estimation": settings.n}
    lacking = [
        image
        for image, roles in images.items()
        if any(draw not in roles.get(role, {}) for role, many in needed.items() for draw in range(many))
    ]
    if len({type(image) for image in images}) > 1:
        raise RaysmoothError(
            f"{shown} names some images by number and some by digest, which may be the same ones: write one of the two"
        )
    if lacking:
        raise RaysmoothError(
            f"{shown}: draws are missing of {counted(len(lacking), 'image')}, the first is {lacking[0]}: write "
            "--n0 and --n as they were asked for, draws are numbered from 0 in each role"
        )
    references = any("reference" in roles for roles in images.values())
    facts: dict[str, Any] = {
        **{name: getattr(settings, name) for name in ("dataset", "split", "classifier", "denoiser", "objective")},
        "index_set": None,
        "rejector": UNANSWERED,
        "reference": references,
        "noise": noise.name,
        "norm": noise.norm,
        "sigma": settings.sigma,
        "sampling": "fixed",
        "n0": settings.n0,
        "n": settings.n,
        "alpha": settings.alpha,
        "noise_bound": "complement",
        "images": len(images),
    }
    identity = {"import": SCHEME, "sha256": content.hexdigest(), **facts, "label_rule": label_rule.describe()}
    source = imported_from(str(path))
    manifest = {
        "run_id": run_id(identity),
        "identity": identity,
        "settings": settings.model_dump(),
        "num_classes": None,
        "imported": {
            "file": printable(str(Path(path).resolve())),
            "source": source,
            "sha256": content.hexdigest(),
            "rows": len(images),
        },
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    rule = Fixed(settings.n0, settings.n, settings.alpha, noise, "complement", rejecting=True)
    columns = {**dict.fromkeys(_CERTIFY.schema.names), **facts, "source": source}
    whose = Whose(None, {code: label for label, code in labels.items()})
    numbers = {image: place for place, image in enumerate(sorted(images, key=str))}
    with RunStore(settings.out, _CERTIFY.folder, _CERTIFY.schema, manifest) as store:
        new = 0
        for image, roles in images.items():
            number = image if isinstance(image, int) else numbers[image]
            if number in store.finished:
                continue
            new += 1
            counts = {
                ROLES[role]: _counted([roles[role][draw] for draw in range(many)], len(labels))
                for role, many in needed.items()
            }
            right = roles.get("reference", {}).get(0)
            row = _CERTIFY.finished_row(columns, number, right, counts, rule.conclude(counts), 0.0, whose)
            store.add_row({**row, "seconds": None})
        return ImportedAnswers(Path(path), store.run_id, len(images), bool(new))


def _counted(codes: Sequence[int | None], labels: int) -> np.ndarray:
    """Counts of codes, int64 (2 K,) with one code more than labels, which is that of answers without one."""
    size = labels + 1
    return np.bincount([size + labels if code is None else code for code in codes], minlength=2 * size).astype(np.int64)
