"""A run from the counts of several others, which have the same images at different noise levels: the certificates of
their envelope (--envelope), or of whatever chooses among them (--worst-sigma). See `certification.several_levels`.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.metrics import FIXED
from raysmooth.pipeline.certification.certificate import RUNNER_UP, Certificate, can_certify
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.sampling_rule import Counts
from raysmooth.pipeline.certification.several_levels import (
    Level,
    LevelsCertificate,
    can_certify_envelope,
    certify_envelope,
    certify_worst,
    refuse_not_lipschitz,
)
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.derived.changes import Changes
from raysmooth.pipeline.derived.levels_checks import SHARED, refuse_changes, refuse_unlike
from raysmooth.pipeline.derived.recertification import Recertification
from raysmooth.pipeline.derived.source_counts import SourceCounts
from raysmooth.pipeline.derived.source_runs import SourceRun
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.runs.procedures import PROCEDURES, Whose
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.sigma_rules import ENVELOPE, WORST, envelope_rule
from raysmooth.storage.location import Where
from raysmooth.storage.object_store import notify

_CERTIFY = PROCEDURES["certify"]

_JOINED = ("classifier", "denoiser", "rejector")
"""Texts of the identity that may differ between runs; the row has all of them."""

_FINGERPRINTS = ("classifier_fingerprint", "denoiser_fingerprint", "rejector_fingerprint")


@dataclass(frozen=True)
class LevelsRun:
    """The runs in the order of their levels, and the changes: another alpha or norm, fewer draws. `worst` is for the
    smallest radius of all levels instead of their envelope's. Raises RaysmoothError where the runs do not go together,
    or do not support the changes.
    """

    sources: tuple[SourceRun, ...]
    changes: Changes
    worst: bool = False

    def __post_init__(self) -> None:
        refuse_unlike(self.sources, self.flag)
        refuse_changes(self.sources, self.changes, self.flag, self.worst)
        if not self.worst:
            refuse_not_lipschitz(self.levels[0].noise.name, self.levels[0].noise.norm)
        draws, noises = [level.n for level in self.levels], [level.noise for level in self.levels]
        alpha = self.alpha / len(draws)
        can = (
            all(can_certify(n, alpha, self.bound.part) for n in draws)
            if self.worst
            else can_certify_envelope(noises, draws, self.alpha)
        )
        if not can:
            raise RaysmoothError(
                f"{self.flag}: n={min(draws)} draws at alpha={self.alpha:g}, shared by {len(draws)} levels, can only "
                f"abstain: write a larger --{'alpha' if self.changes.familywise is None else 'familywise'}"
            )

    @classmethod
    def of(cls, sources: Sequence[SourceRun], changes: Changes, worst: bool) -> "LevelsRun":
        """The run of `sources` in any order."""
        return cls(tuple(sorted(sources, key=lambda one: (one.identity["sigma"], one.run_id))), changes, worst)

    @property
    def flag(self) -> str:
        return "--worst-sigma" if self.worst else "--envelope"

    @property
    def alpha(self) -> float:
        """Per image, for all levels together."""
        return self.levels[0].alpha

    @cached_property
    def levels(self) -> tuple[Recertification, ...]:
        """Each source with the number of draws, the norm and the alpha of this run. Raises RaysmoothError as
        `Recertification` does.
        """
        own = replace(self.changes, noise_bound=None, alpha_share=None)
        return tuple(Recertification(source, own) for source in self.sources)

    @cached_property
    def bound(self) -> ChosenBound:
        """That of every level, with its share of alpha / levels."""
        if not self.worst:
            return ChosenBound.of(RUNNER_UP, None, rejecting=False)
        rejecting = any(source.is_rejecting for source in self.sources)
        return ChosenBound.of(self.changes.noise_bound, self.changes.alpha_share, rejecting)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the rows, as JSON values."""
        first, ids = self.sources[0].identity, [source.run_id for source in self.sources]
        sigmas = [float(source.identity["sigma"]) for source in self.sources]
        return {
            "scheme": SCHEME,
            "procedure": "envelope",
            "source": f"{'worst sigma' if self.worst else 'envelope'} of {','.join(ids)}",
            "sources": ids,
            **{name: first.get(name) for name in (*SHARED, "images")},
            **{name: _joined([source.identity.get(name) for source in self.sources]) for name in _JOINED},
            "sampling": _joined([source.identity.get("sampling", FIXED) for source in self.sources]),
            **{name: _common([source.identity.get(name) for source in self.sources]) for name in _FINGERPRINTS},
            "norm": self.levels[0].norm,
            "sigma": None,
            "sigma_rule": envelope_rule(sigmas, WORST if self.worst else ENVELOPE),
            "n0": sum(int(source.identity["n0"]) for source in self.sources),
            "n": sum(level.n for level in self.levels),
            "alpha": self.alpha,
            "familywise": self.changes.familywise,
            "noise_bound": self.bound.name,
            "alpha_share": self.bound.share,
        }

    @property
    def run_id(self) -> str:
        return run_id(self.identity)

    @property
    def manifest(self) -> dict[str, Any]:
        """The settings of its data are those of the first run; images and classes are the same in all."""
        first = self.sources[0].manifest
        kept = ("settings", "image_shape", "num_classes", "framing", "reading", "data")
        return {
            "run_id": self.run_id,
            "identity": self.identity,
            "objective": _joined([source.manifest["objective"] for source in self.sources]),
            **{name: first[name] for name in kept if name in first},
            "recertified": {**asdict(self.changes), "at": datetime.now(UTC).isoformat(timespec="seconds")},
        }

    def certify(self, counts: Sequence[Counts]) -> tuple[LevelsCertificate, float | None]:
        """The certificate of one image from its counts at each level, and the radius of the worst level by the same
        bounds (0 where the levels do not agree): None where that is the certificate itself.
        """
        levels = [
            Level(level.noise, own[Role.SELECTION], own[Role.ESTIMATION], level.rejecting)
            for level, own in zip(self.levels, counts, strict=True)
        ]
        worst = certify_worst(levels, self.alpha, self.bound.name, self.bound.part)
        return (worst, None) if self.worst else (certify_envelope(levels, self.alpha), worst.radius)

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """Rows of the images that all sources have finished and that are not `done`. An image that failed in any of
        them is an error row with its reason. Raises RaysmoothError where stored counts do not match their rows.
        """
        finished = set.intersection(*(set(source.rows["image_id"]) for source in self.sources))
        if not finished:
            raise RaysmoothError(f"{self.flag}: no image is finished in all runs yet: continue them first")
        if waiting := max(len(source.rows) for source in self.sources) - len(finished):
            notify(f"{waiting} images are not finished in all runs: continue those, then repeat the command")
        rows = [_of_images(source.rows, finished - set(done)) for source in self.sources]
        failed = [set(own["image_id"][own["status"] == "error"]) for own in rows]
        fine = (finished - set(done)).difference(*failed)
        stored = [
            SourceCounts(out, level.source, level.n, _of_images(own, fine))
            for level, own in zip(self.levels, rows, strict=True)
        ]
        names = _CERTIFY.schema.names
        facts = {name: self.identity.get(name) for name in names[: names.index("images") + 1]}
        facts["objective"] = self.manifest["objective"]
        records = zip(*(own.to_dict("records") for own in rows), strict=True)
        return [self._row(own, stored, facts) for own in records]

    def _row(
        self, own: Sequence[Mapping[Hashable, Any]], stored: Sequence[SourceCounts], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The row of an image from its rows in all sources."""
        first = own[0]
        image_id, label = int(first["image_id"]), None if pd.isna(first["label"]) else int(first["label"])
        whose = Whose(text_of(first.get("file")), class_names_of(self.sources[0].manifest.get("data")))
        failed = [place for place, row in enumerate(own) if row["status"] == "error"]
        if failed:
            reason = f"run {self.sources[failed[0]].run_id}: {own[failed[0]]['error']}"
            return _CERTIFY.error_row(facts, image_id, label, reason, sum(row["seconds"] for row in own), whose)
        counts = [source.of(row) for source, row in zip(stored, own, strict=True)]
        certificate, worst = self.certify(counts)
        seconds = sum(source.seconds(row) for source, row in zip(stored, own, strict=True))
        joined = {role: np.concatenate([one[role] for one in counts]) for role in counts[0]}
        concluded = Certificate(certificate.prediction, certificate.radius, 0.0, 0)
        return {
            **_CERTIFY.finished_row(facts, image_id, label, joined, concluded, seconds, whose),
            "image_sigma": None if certificate.level is None else self.sources[certificate.level].identity["sigma"],
            "worst_radius": worst,
            "p_lower": None,  # each level has its own
            "count_top": None,
        }


def _of_images(rows: pd.DataFrame, images: Collection[int]) -> pd.DataFrame:
    return rows[rows["image_id"].isin(images)]


def _joined(texts: Sequence[str | None]) -> str | None:
    """The one text that all runs have, or all of them in the order of levels; None where none has any."""
    if not any(texts):
        return None
    return " + ".join(dict.fromkeys(text or "none" for text in texts))


def _common(texts: Sequence[str | None]) -> str | None:
    """The text that all runs have, None if they differ."""
    return texts[0] if len(set(texts)) == 1 else None
