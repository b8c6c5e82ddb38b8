"""The rows that another label rule gives, from the answers in the query log: nothing is asked again.

The log knows images by their pixels, a run by their numbers. Which is which, an answer says that was asked for the run;
the counts that the run's own rule gives must then be those that are stored.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.metrics import FIXED
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.derived.recertified_run import RecertifiedRun
from raysmooth.pipeline.derived.source_counts import SourceCounts
from raysmooth.pipeline.derived.source_runs import SourceRun
from raysmooth.pipeline.queries.accepted import Accepted, read_accepted
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.label_rules import read_label_rule
from raysmooth.pipeline.queries.labelling import Labelling
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.queries.query_folder import logged_answers
from raysmooth.pipeline.queries.query_log import LoggedAnswers
from raysmooth.pipeline.queries.versions import one_version
from raysmooth.pipeline.queries.vocabulary import OpenVocabulary
from raysmooth.pipeline.runs.apis.api_facts import AskedLabels, name_in_rows
from raysmooth.pipeline.runs.apis.open_labels import open_vocabulary
from raysmooth.pipeline.runs.procedures import PROCEDURES, Whose
from raysmooth.storage.location import Where

_CERTIFY = PROCEDURES["certify"]

ALPHA_SHARED = (
    "the guarantee is that of a label rule chosen before its results were seen: of k rules that are tried, choose with "
    "--alpha divided by k for each"
)


def of_apis(sources: Sequence[SourceRun]) -> list[SourceRun]:
    """Those of `sources` whose classifier is a vision API."""
    return [source for source in sources if "queries" in source.manifest]


@dataclass(frozen=True)
class RelabelledRun(RecertifiedRun):
    """The run that a source run of a vision API gives with another label rule, or other accepted labels. `open_labels`
    are the labels of all runs in the folder. Raises RaysmoothError where the source is no such run.
    """

    open_labels: OpenVocabulary

    def __post_init__(self) -> None:
        run, flag = f"run {self.source.run_id}", "--label-rule" if self.changes.label_rule else "--accepted"
        if not of_apis([self.source]):
            raise RaysmoothError(f"{flag}: {run} asked no vision API: choose others with --run")
        if self.source.sampling_method != FIXED:
            raise RaysmoothError(
                f"{flag}: {run} has sampling {self.source.identity['sampling']}, whose numbers of draws followed from "
                "its own labels: write 'raysmooth certify --offline' with the rule, which asks nothing either"
            )
        if self._queries["labels"] == "reference" and self.changes.accepted is not None:
            raise RaysmoothError(
                f"--accepted: {run} has no labels of the data, only the API's own answers to its images: write "
                "'raysmooth certify --offline --accepted ...', which asks nothing either"
            )
        _ = self.labels
        super().__post_init__()

    @property
    def _queries(self) -> Mapping[str, Any]:
        return dict(self.source.manifest["queries"])

    @cached_property
    def labels(self) -> AskedLabels:
        """How an answer becomes a label now."""
        rule = read_label_rule(self.changes.label_rule or self._queries["label_rule"])
        return AskedLabels(rule, closed_labels(self.source), self._accepted)

    @cached_property
    def _accepted(self) -> Accepted | None:
        was = self.source.identity.get("accepted")
        if was is None:
            return None
        written = self.changes.accepted or str(self.source.manifest["settings"]["accepted"])
        found = read_accepted(written, class_names_of(self.source.manifest.get("data")), was["classes"])
        if self.changes.accepted is None and found.describe() != dict(was):
            raise RaysmoothError(
                f"the file of run {self.source.run_id}, --accepted {written}, has changed since: write which one "
                "counts now, as --accepted FILE"
            )
        return found

    @cached_property
    def labelling(self) -> Labelling:
        return self.labels.with_open(self.open_labels)

    @cached_property
    def identity(self) -> dict[str, Any]:
        return {**super().identity, **self.labels.describe()}

    @property
    def manifest(self) -> dict[str, Any]:
        was, labels = super().manifest, self.labelling.num_labels
        accepted = {} if self.changes.accepted is None else {"accepted": self.changes.accepted}
        return {
            **was,
            "num_classes": labels,
            **({"num_labels": 2 * labels} if "num_labels" in was else {}),
            "queries": {**self._queries, **self.labels.manifest_entry},
            "settings": {**was["settings"], "label_rule": str(self.labels.rule), **accepted},
        }

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """As of any recertified run, from the query log. Raises RaysmoothError where it lacks answers."""
        source, names = self.source, _CERTIFY.schema.names
        rows = source.rows[~source.rows["image_id"].isin(done)]
        images = _LoggedImages(out, source, rows[rows["status"] != "error"])
        facts = {name: self.identity.get(name) for name in names[: names.index("images") + 1]}
        facts |= {"objective": source.manifest["objective"], "sampling": self.identity.get("sampling", FIXED)}
        facts |= {**self.bound.facts, "reference": source.identity["reference"]}
        facts["classifier"] = name_in_rows(
            self.identity["classifier"], str(self.labels.rule), self._queries["query_identity"]
        )
        new = []
        for row in rows.to_dict("records"):
            image_id, label = int(row["image_id"]), None if pd.isna(row["label"]) else int(row["label"])
            file, own = text_of(row.get("file")), {**facts, "image_sigma": None}
            if row["status"] == "error":
                whose = Whose(file, self.labelling.vocabulary.names())
                label = label if self._accepted is not None else None
                new.append(_CERTIFY.error_row(own, image_id, label, row["error"], row["seconds"], whose))
                continue
            answers = images.of(row)
            counts = {role: counted_labels(self.labelling, own_answers) for role, own_answers in answers.items()}
            counts[Role.ESTIMATION] = counted_labels(self.labelling, answers[Role.ESTIMATION][: self.n])
            if self._accepted is None:
                label = self._reference(images.reference(row))
            whose = Whose(file, self.labelling.vocabulary.names())
            certificate = self.certify(counts)
            new.append(_CERTIFY.finished_row(own, image_id, label, counts, certificate, float(row["seconds"]), whose))
        return new

    def _reference(self, answer: LoggedAnswer) -> int | None:
        code = self.labelling.draw_code(answer)
        return code if code < self.labelling.num_labels else None


def closed_labels(source: SourceRun) -> Sequence[str] | None:
    """The API's own closed list of labels, as far as a run's manifest has it: it is not in that of a run whose rule has
    labels of its own. None where labels are open.
    """
    queries, accepted = source.manifest["queries"], source.identity.get("accepted")
    if queries["open_from"] is not None or source.identity["label_rule"]["rule"] not in ("top", "leaf"):
        return None
    return list(queries["names"])[0 if accepted is None else accepted["classes"] :]


class _LoggedImages:
    """The answers of the images of `rows`, which are finished rows of the run `source`."""

    def __init__(self, out: Where, source: SourceRun, rows: pd.DataFrame) -> None:
        queries = source.manifest["queries"]
        self._source, self._identity = source, source.identity
        self._noisy = logged_answers(out, QueryIdentity(queries["query_identity"]))
        reference = queries["reference_identity"]
        self._references = None if reference is None else logged_answers(out, QueryIdentity(reference))
        one_version(filter(None, (self._references, self._noisy)), str(self._identity["classifier"]))
        self._stored = SourceCounts(out, source, self._identity["n"], rows)
        self._own = _own_labelling(out, source)
        self._digests: dict[int, list[str]] = {}
        for digest in self._noisy.images():
            for image_id in _numbers_of(self._noisy, digest):
                self._digests.setdefault(image_id, []).append(digest)
        self._found: dict[int, str] = {}

    def of(self, row: Mapping[Any, Any]) -> dict[Role, list[LoggedAnswer]]:
        """The answers to an image's draws by role, in the order of draws. Raises RaysmoothError where they are not
        there, or not those that the run counted.
        """
        image_id = int(row["image_id"])
        known = {digest: self._answers(digest) for digest in self._digests.get(image_id, ())}
        fitting = {name: own for name, own in known.items() if own is not None and self._is_of(row, own)}
        if len(fitting) == 1:
            ((self._found[image_id], answers),) = fitting.items()
            return answers
        image = named_image(image_id, text_of(row.get("file")))
        lacks = "lacks some of its draws" if None in known.values() else "has no answers that fit its counts"
        if fitting:  # of data sets in which they have the same number
            lacks = f"has the same answers for {len(fitting)} images with this number"
        raise RaysmoothError(
            f"run {self._source.run_id}: {image}: the query log in {self._noisy.folder} {lacks}: write 'raysmooth "
            "certify' with the label rule, which asks for what is missing"
        )

    def reference(self, row: Mapping[Any, Any]) -> LoggedAnswer:
        """The answer to the image itself."""
        assert self._references is not None
        digest = self._found[int(row["image_id"])]
        if (answer := self._references.answers(digest, Role.REFERENCE).get(0)) is None:
            raise RaysmoothError(
                f"run {self._source.run_id}: {named_image(int(row['image_id']), text_of(row.get('file')))}: the query "
                f"log in {self._references.folder} lacks the answer to the image itself: write 'raysmooth certify' "
                "with the label rule, which asks for it"
            )
        return answer

    def _answers(self, digest: str) -> dict[Role, list[LoggedAnswer]] | None:
        found = {}
        for role, many in ((Role.SELECTION, self._identity["n0"]), (Role.ESTIMATION, self._identity["n"])):
            logged = self._noisy.answers(digest, role)
            if not all(draw in logged for draw in range(many)):
                return None
            found[role] = [logged[draw] for draw in range(many)]
        return found

    def _is_of(self, row: Mapping[Any, Any], answers: Mapping[Role, Sequence[LoggedAnswer]]) -> bool:
        """Whether the run's own rule makes the stored counts of these answers."""
        stored = self._stored.of(row)
        return all(np.array_equal(counted_labels(self._own, answers[role]), stored[role]) for role in CERTIFYING)


def counted_labels(labelling: Labelling, answers: Sequence[LoggedAnswer]) -> np.ndarray:
    """How many of the answers have each code, int64 (2 K,)."""
    return np.bincount(labelling.draw_codes(answers), minlength=2 * labelling.num_labels).astype(np.int64)


def _numbers_of(log: LoggedAnswers, digest: str) -> set[int]:
    """The numbers of an image in the data sets of the runs that asked for its draws."""
    logged = [*log.answers(digest, Role.SELECTION).values(), *log.answers(digest, Role.ESTIMATION).values()]
    return {answer.image_id for answer in logged if answer.image_id is not None}


def _own_labelling(out: Where, source: SourceRun) -> Labelling:
    """What the run itself made of answers. Raises RaysmoothError where its files are gone or have changed."""
    queries, was = source.manifest["queries"], source.identity.get("accepted")
    try:
        accepted = None
        if was is not None:
            written = str(source.manifest["settings"]["accepted"])
            accepted = read_accepted(written, class_names_of(source.manifest.get("data")), was["classes"])
        own = AskedLabels(read_label_rule(queries["label_rule"]), closed_labels(source), accepted)
        changed = (
            None if own.describe() == {"label_rule": source.identity["label_rule"], "accepted": was} else "changed"
        )
    except RaysmoothError as error:
        changed = str(error)
    if changed is not None:
        raise RaysmoothError(
            f"run {source.run_id} took labels by {queries['label_rule']}, whose files are not as they were "
            f"({changed}): restore them, or write 'raysmooth certify --offline' with the new rule, which asks nothing "
            "either"
        )
    return own.with_open(open_vocabulary(out))
