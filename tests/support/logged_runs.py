"""Runs of vision APIs on disk, with answers as given: log, counts and rows as if they had been asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scripted_api import ScriptedApi, entry

from raysmooth.actors.apis import apis
from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.common.settings import checked
from raysmooth.pipeline.queries.labelling import Labelling
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.queries.query_folder import QueryFolder
from raysmooth.pipeline.queries.vocabulary import VOCABULARY, OpenVocabulary
from raysmooth.pipeline.runs.apis.api_run import NO_REPLICA, ApiRun
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES, Whose
from raysmooth.pipeline.store.run_store import CountedBlock, RunStore

CERTIFY = PROCEDURES["certify"]

Says = Callable[[int, Role, int], Sequence[Tag] | None]
"""What the API says of an image (by number), role and draw: tags, or None for a picture that it refuses."""


def add_scripted(monkeypatch: Any) -> None:
    """An API `scripted`, which needs no endpoint and has open labels."""
    monkeypatch.setitem(apis.VISION_APIS._entries, "scripted", entry(ScriptedApi))


def planned(out: Path, **changes: Any) -> ApiRun:
    """A run of the first three digits."""
    values = {"dataset": "digits", "classifier": "scripted", "sigma": 0.25, "n": 100, "n0": 20, "max": 3}
    (run,) = prepare(CERTIFY, checked(CERTIFY.settings, {**values, "block_size": 50, "out": str(out), **changes}))
    assert isinstance(run, ApiRun)
    return run


def asked(
    out: Path,
    says: Says,
    skipped: Sequence[DrawKey] = (),
    numbers: int = 0,
    version: Callable[[DrawKey], str | None] = lambda key: None,
    **changes: Any,
) -> str:
    """A finished run, as if an API had been asked that `says` this; the log lacks `skipped`, and has the images'
    numbers plus `numbers`. `version`: of the model, by draws. Returns its id.
    """
    run = planned(out, **changes)
    with QueryFolder(out) as queries:
        open_labels = OpenVocabulary(queries.home / VOCABULARY, queries.verify)
        labelling: Labelling = run.labels.with_open(open_labels)
        noisy = queries.log(run.queries)
        references = None if run.references is None else queries.log(run.references)
        manifest = run.manifest(NO_REPLICA, {})
        with RunStore(out, CERTIFY.folder, CERTIFY.schema, manifest) as store:
            for image_id in run.index_set:
                example = run.dataset.read(image_id)
                digest = image_digest(example.image)
                counts, label = {}, example.label
                if references is not None:
                    reference = _answer(DrawKey(digest, Role.REFERENCE, 0), says(image_id, Role.REFERENCE, 0), image_id)
                    references.add_answer(replace(reference, version=version(reference.key)))
                    code = labelling.draw_code(reference)
                    label = code if code < labelling.num_labels else None
                for role, many in zip(CERTIFYING, (run.settings.n0, run.settings.n), strict=True):
                    answers = [
                        _answer(DrawKey(digest, role, draw), says(image_id, role, draw), image_id + numbers)
                        for draw in range(many)
                    ]
                    for answer in answers:
                        if answer.key not in skipped:
                            noisy.add_answer(replace(answer, version=version(answer.key)))
                    counts[role] = np.zeros(2 * labelling.num_labels, np.int64)
                    for block, first in enumerate(range(0, many, run.settings.block_size)):
                        codes = labelling.draw_codes(answers[first : first + run.settings.block_size])
                        own = np.bincount(codes, minlength=2 * labelling.num_labels)
                        store.add_block(CountedBlock(image_id, role, block, len(codes), own, 0, 0.25))
                        counts[role] += own
                whose = Whose(None, labelling.vocabulary.names())
                concluded = run.rule.conclude(counts)
                store.add_row(
                    CERTIFY.finished_row(run.facts_of(image_id), image_id, label, counts, concluded, 0.5, whose)
                )
    return str(manifest["run_id"])


def _answer(key: DrawKey, tags: Sequence[Tag] | None, image_id: int) -> LoggedAnswer:
    return replace(LoggedAnswer(key, tuple(tags or ())), refused=None if tags is not None else "no", image_id=image_id)
