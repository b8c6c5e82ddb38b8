"""A run whose base classifier is a vision API. Its identity has no device and no library in it: the same settings are
the same run on every machine, and its answers are in the query log, whatever the run makes of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.data.datasets import Example
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.labelling import HasTags, Labelling
from raysmooth.pipeline.runs.apis.api_facts import ApiFacts, AskedLabels, name_in_rows
from raysmooth.pipeline.runs.apis.open_labels import open_vocabulary
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.versions import package_version

NO_REPLICA = ReplicaIdentity("", "", "", "", 0)
"""Of a run that no device decides."""


@dataclass(frozen=True)
class ImageByImage(DrawPlan):
    """All draws of an image, then those of the next: what is paid for before the money ends are whole images."""

    @property
    def capacity(self) -> int:
        return self.block_size

    @property
    def shard_size(self) -> int:
        return 1


@dataclass(frozen=True, kw_only=True)
class ApiRun(Run):
    """`spec`: how its queries are made. `labels`: what an answer's label is, and `labelling` the codes of labels.
    `price`: dollars a query, None if unknown. `reference_answer`: the answer to an image itself, by its key, None where
    there is none yet; a driver that has the log open gives it.
    """

    spec: QuerySpec
    labels: AskedLabels
    labelling: Labelling
    price: float | None = None
    reference_answer: Callable[[DrawKey], HasTags | None] = field(default=lambda key: None, compare=False)

    @property
    def has_references(self) -> bool:
        """Whether an image's label is what the API answers to the image itself."""
        return self.labels.accepted is None

    @cached_property
    def queries(self) -> QueryIdentity:
        return QueryIdentity.of(self.spec)

    @cached_property
    def references(self) -> QueryIdentity | None:
        return QueryIdentity.of_reference(self.spec) if self.has_references else None

    @property
    def queries_per_image(self) -> float:
        """Queries of an image: exact, or from experience if images stop early."""
        return self.draws_per_image + self.has_references

    @property
    def most_queries(self) -> int:
        return self.most_draws + self.has_references

    @property
    def names(self) -> Mapping[int, str]:
        return self.labelling.vocabulary.names()

    def problem_with(self, example: Example) -> str | None:
        if (shape := example.image.shape) != self.image_shape:
            return f"image of shape {shape}, unlike the first's {self.image_shape}: write --resize and --crop"
        accepted = self.labels.accepted
        if accepted is not None and example.label is not None and not 0 <= example.label < len(accepted.classes):
            return f"label {example.label} is outside the data's classes 0..{len(accepted.classes) - 1}"
        return None

    def label_of(self, image: np.ndarray | None, label: int | None) -> int | None:
        """The data's label where labels are accepted ones; otherwise the code of what the API answers to the image."""
        if not self.has_references:
            return label
        answer = None if image is None else self.reference_answer(DrawKey(image_digest(image), Role.REFERENCE, 0))
        code = None if answer is None else self.labelling.draw_code(answer)
        return code if code is not None and code < self.num_classes else None

    @cached_property
    def facts(self) -> dict[str, Any]:
        classifier = name_in_rows(self.base.classifier, str(self.labels.rule), self.queries.facts)
        return {**super().facts, "classifier": classifier, "reference": self.has_references}

    @cached_property
    def plan(self) -> DrawPlan:
        return ImageByImage(self.rule.first, self.settings.block_size, 1)

    def identity(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """All that decides the rows, as JSON values; nothing of `replica` does."""
        return {
            "scheme": SCHEME,
            "procedure": self.procedure.name,
            **self._named_facts,
            "classifier": self.base.classifier,
            "data_fingerprint": self.data_fingerprint,
            "seed": self.settings.seed,
            "block_size": self.settings.block_size,
            "query_identity": self.queries.id,
            "reference_identity": None if self.references is None else self.references.id,
            "reference": self.has_references,
            **self.labels.describe(),
            **({"scipy": package_version("scipy")} if self._needs_scipy else {}),
        }

    identity_without_compute = identity

    @property
    def known_identity(self) -> dict[str, Any]:
        return self.identity(NO_REPLICA)

    def manifest(self, replica: ReplicaIdentity, compute_choice: Mapping[str, Any]) -> dict[str, Any]:
        """As of any run; `queries` says what its answers are answers to, and what makes labels of them."""
        references = self.references
        return {
            **super().manifest(replica, compute_choice),
            "queries": {
                "labels": "reference" if self.has_references else "accepted",
                "query_identity": dict(self.queries.facts),
                "reference_identity": None if references is None else dict(references.facts),
                **self.labels.manifest_entry,
            },
        }


def api_run(procedure: Procedure, settings: SamplingSettings, found: ApiFacts, **known: Any) -> ApiRun:
    """The run of these settings and facts. What stands before the API is computed in float32, in batches of its own."""
    labelling = found.labels.with_open(open_vocabulary(settings.out))
    return ApiRun(
        procedure,
        settings,
        compute=ComputeConfig("float32", False, 1),
        spec=found.spec,
        labels=found.labels,
        labelling=labelling,
        price=found.price,
        **known,
    )
