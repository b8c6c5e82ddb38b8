"""Certificates recomputed from stored counts, without new draws: with another alpha, fewer draws, another bound on the
other classes, in another norm, without the run's rejector, or so that all of them hold at once.

The draws decide which changes are valid. A run with "fixed" sampling supports all of them: its first draws are those of
a run with fewer. An adaptive run fixed the number of estimation draws of an image before making them, so every bound at
every alpha is valid; with a smaller n, its pilots would have chosen other numbers. A run that decides one radius
stopped by its evidence about that radius, which may be compared with another alpha at any time (Ville's inequality),
but supports no other statement.

Draws that a rejector rejected keep their class in the counts. Without the rejector (--rejection off) the counts of an
image are those of kept and rejected draws together, which the same draws have without one.

The guarantee is that of each recertification by itself, not of the best of several, chosen image by image after
looking.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.common.settings import split_list
from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.metrics import FIXED, decided_at
from raysmooth.pipeline.analysis.run_facts import RECERTIFIED
from raysmooth.pipeline.certification.certificate import (
    COMPLEMENT,
    NOISE_BOUNDS,
    REJECTION,
    RUNNER_UP,
    Certificate,
    can_certify,
)
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.pair_test import decision_test
from raysmooth.pipeline.certification.rejected_draws import without_rejection
from raysmooth.pipeline.certification.sampling_rule import Counts, Fixed
from raysmooth.pipeline.certification.sequential_test import Decide
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.derived.source_runs import SourceRun, source_runs
from raysmooth.pipeline.runs.procedures import PROCEDURES, Whose
from raysmooth.pipeline.runs.run import SCHEME
from raysmooth.pipeline.store.count_checks import CountLimits
from raysmooth.pipeline.store.manifest import RunFolder, run_id
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.pipeline.store.stored_counts import StoredCounts
from raysmooth.storage.location import Where
from raysmooth.storage.object_store import notify

_CERTIFY = PROCEDURES["certify"]

NOT_REJECTING = {"rejector": None, "rejector_fingerprint": None, "rejection": "off"}
"""What the identity has where the counts of a run with a rejector are certified without it."""


@dataclass(frozen=True)
class Changes:
    """The requested changes; None keeps the source run's value. Raises RaysmoothError for impossible values, and for
    none.
    """

    alpha: float | None = None
    n: int | None = None
    noise_bound: str | None = None
    familywise: float | None = None
    norm: str | None = None
    alpha_share: float | None = None
    rejection: str | None = None

    def __post_init__(self) -> None:
        if all(value is None or (name, value) == ("rejection", "on") for name, value in vars(self).items()):
            raise RaysmoothError(
                "recertify needs a change: write --alpha 0.01, --n 1000, --noise-bound runner-up, --familywise 0.05, "
                "--norm linf or --rejection off, for example"
            )
        for flag, share in (("alpha", self.alpha), ("familywise", self.familywise)):
            if share is not None and not 0 < share < 1:
                raise RaysmoothError(f"--{flag} {share:g}: write a probability between 0 and 1, such as 0.001")
        if self.alpha is not None and self.familywise is not None:
            raise RaysmoothError("--familywise sets alpha to DELTA / images: leave --alpha out")
        if self.n is not None and self.n < 1:
            raise RaysmoothError(f"--n {self.n}: write 1 or more")
        if self.noise_bound is not None:
            NOISE_BOUNDS[self.noise_bound]
        if self.rejection not in (None, "on", "off"):
            raise RaysmoothError(f"--rejection {self.rejection}: write on or off")
        if self.rejection == "off" and self.noise_bound == REJECTION:
            raise RaysmoothError(
                f"--noise-bound {REJECTION} counts rejected draws, and --rejection off has none: leave one of them "
                f"out, or write --noise-bound {RUNNER_UP}"
            )


_UNSUPPORTED = {
    ("adaptive", "n"): "its numbers of draws per image were chosen for n={n}",
    ("decide", "n"): "an image's draws stopped at its decision",
    ("decide", "noise_bound"): "its draws were stopped by the evidence of that bound's test",
    ("decide", "alpha_share"): "its test does not split alpha",
    ("decide", "norm"): "it decided a radius in {norm}",
}
"""Why a change is invalid, by sampling method and setting."""


@dataclass(frozen=True)
class Recertification:
    """A source run and its changes. Raises RaysmoothError where its draws do not support these, or where every image
    would abstain.
    """

    source: SourceRun
    changes: Changes

    def __post_init__(self) -> None:
        was, run = self.source.identity, f"run {self.source.run_id}"
        if self.norm not in (norms := NOISES[was["noise"]].norms):
            given = f"{was['noise']} noise, which gives radii in {' or '.join(norms)}"
            raise RaysmoothError(f"--norm {self.norm}: {run} has {given}: write --norm {' or '.join(norms)}")
        if self.n > was["n"]:
            raise RaysmoothError(
                f"--n {self.n}: {run} has n={was['n']} draws per image: write --n {was['n']} or less, or certify again"
            )
        if self.changes.rejection is not None and not self.source.is_rejecting:
            raise RaysmoothError(
                f"--rejection {self.changes.rejection}: {run} has no rejector: choose others with --run"
            )
        if self.changes.noise_bound == REJECTION and not self.source.is_rejecting:
            raise RaysmoothError(
                f"--noise-bound {REJECTION}: {run} has no rejector: choose others with --run, or write --noise-bound "
                f"{RUNNER_UP}"
            )
        before = was.get("noise_bound", COMPLEMENT)
        now = {
            "n": (self.n, was["n"]),
            "norm": (self.norm, was["norm"]),
            "noise_bound": (self.changes.noise_bound or before, before),
            "alpha_share": (self.changes.alpha_share, None),
        }
        for name, (value, before) in now.items():
            if value != before and (reason := _UNSUPPORTED.get((self.source.sampling_method, name))) is not None:
                raise RaysmoothError(
                    f"--{name.replace('_', '-')} {value}: {run} has sampling {was['sampling']}, and "
                    f"{reason.format(**was)}: use 'raysmooth certify', or choose other runs with --run"
                )
        size = was["block_size"]
        if self.n % size and self.n != was["n"]:
            below, above = self.n // size * size, min(self.n // size * size + size, was["n"])
            near = [f"--n {n}" for n in (below, above) if n]
            raise RaysmoothError(
                f"--n {self.n}: {run} counted its draws in blocks of {size}: write {' or '.join(near)}"
            )
        self._refuse_hopeless()

    def _test(self, radius: float) -> Decide:
        return decision_test(
            self.source.identity["n0"], self.n, self.alpha, self.noise, radius, self.bound.name, self.rejecting
        )

    def _refuse_hopeless(self) -> None:
        if (decided := decided_at(self.source.identity.get("sampling", FIXED))) < np.inf:
            hopeless = not self._test(decided).reaches(self.n, decided)
        else:
            hopeless = not can_certify(self.n, self.alpha, self.bound.part)
        if hopeless:
            larger = ["--familywise" if self.changes.familywise else "--alpha", *(["--n"] if self.changes.n else [])]
            raise RaysmoothError(
                f"n={self.n} draws at alpha={self.alpha:g} ({self.bound.name} bound) can only abstain in run "
                f"{self.source.run_id}: write a larger {' or '.join(larger)}"
            )

    @property
    def alpha(self) -> float:
        """Per image; with `familywise`, delta over the number of the run's images, finished or not: by the union bound
        all certificates of the run then hold at once with probability at least 1 - delta.
        """
        if self.changes.familywise is not None:
            return float(self.changes.familywise / self.source.identity["images"])
        return float(self.changes.alpha if self.changes.alpha is not None else self.source.identity["alpha"])

    @property
    def n(self) -> int:
        return int(self.changes.n if self.changes.n is not None else self.source.identity["n"])

    @property
    def norm(self) -> str:
        return str(self.changes.norm or self.source.identity["norm"])

    @property
    def rejecting(self) -> bool:
        """Whether rejected draws count as rejected."""
        return self.source.is_rejecting and self.changes.rejection != "off"

    @cached_property
    def bound(self) -> ChosenBound:
        """The bound on the other classes: by default the source's or, without its rejector, what a run without any has
        by default. Raises RaysmoothError as `ChosenBound.of`.
        """
        was = self.source.identity
        kept = was.get("noise_bound", COMPLEMENT) if self.rejecting == self.source.is_rejecting else None
        name, share = self.changes.noise_bound or kept, self.changes.alpha_share
        if share is None and name == was.get("noise_bound"):
            share = was.get("alpha_share")
        bound = ChosenBound.of(name, share, self.rejecting)
        return ChosenBound(bound.name) if self.source.sampling_method == "decide" else bound

    @cached_property
    def noise(self) -> NoiseFamily:
        was = self.source.identity
        return noise_family(was["noise"], was["sigma"], self.norm, prod(self.source.manifest["image_shape"]))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the rows, as JSON values: the source's identity, and the changes."""
        was = {name: value for name, value in self.source.identity.items() if name != "alpha_share"}
        share = self.bound.share
        return {
            **was,
            "scheme": SCHEME,
            "procedure": "recertify",
            "source": f"{RECERTIFIED}{self.source.run_id}",
            "source_run": self.source.run_id,
            "norm": self.norm,
            "n": self.n,
            "alpha": self.alpha,
            "noise_bound": self.bound.name,
            "familywise": self.changes.familywise,
            # Runs that were recertified before there was a choice keep their ids.
            **({} if share in (None, NOISE_BOUNDS[self.bound.name].share) else {"alpha_share": share}),
            **(NOT_REJECTING if self.rejecting != self.source.is_rejecting else {}),
        }

    @property
    def run_id(self) -> str:
        return run_id(self.identity)

    @property
    def manifest(self) -> dict[str, Any]:
        """The source's manifest, which records how it was sampled, with the changes."""
        was = {name: value for name, value in self.source.manifest.items() if name != "num_labels"}
        return {
            **(self.source.manifest if self.rejecting else was),
            "run_id": self.run_id,
            "identity": self.identity,
            "source_run": self.source.run_id,
            "settings": {**self.source.manifest["settings"], "n": self.n, "alpha": self.alpha, "norm": self.norm},
            "recertified": {**asdict(self.changes), "at": datetime.now(UTC).isoformat(timespec="seconds")},
        }

    def certify(self, counts: Counts) -> Certificate:
        """The certificate of one image."""
        if self.source.is_rejecting and not self.rejecting:
            counts = {role: without_rejection(own) for role, own in counts.items()}
        if self.source.sampling_method == "decide":
            return self._test(decided_at(self.source.identity["sampling"])).conclude(counts)
        n0, bound = self.source.identity["n0"], self.bound
        return Fixed(n0, self.n, self.alpha, self.noise, bound.name, bound.share, self.rejecting).conclude(counts)

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """Rows of the source's images that are not `done`. Error rows stay error rows. Raises RaysmoothError where the
        stored counts do not match the rows.
        """
        rows = self.source.rows[~self.source.rows["image_id"].isin(done)]
        fine = rows[rows["status"] != "error"]
        blocks = -(-self.n // self.source.identity["block_size"]) if self.source.sampling_method == FIXED else None
        stored = StoredCounts(
            out,
            self.source.run_id,
            CountLimits.of(self.source.identity, self.source.manifest["num_classes"]),
            set(fine["image_id"]),
            blocks,
            fine,
        )
        names = _CERTIFY.schema.names
        facts = {name: self.identity.get(name) for name in names[: names.index("images") + 1]}
        facts |= {"objective": self.source.manifest["objective"], "sampling": self.identity.get("sampling", FIXED)}
        facts |= self.bound.facts
        new, class_names = [], class_names_of(self.source.manifest.get("data"))
        for row in rows.to_dict("records"):
            image_id, label = int(row["image_id"]), None if pd.isna(row["label"]) else int(row["label"])
            whose = Whose(text_of(row.get("file")), class_names)
            if row["status"] == "error":
                new.append(_CERTIFY.error_row(facts, image_id, label, row["error"], row["seconds"], whose))
                continue
            counts = stored.of(image_id)
            found, expected = (int(counts[role].sum()) for role in Role), self._expected(row)
            if tuple(found) != expected:
                raise RaysmoothError(
                    f"{RunFolder.of(out, self.source.run_id).counts} lacks draws of "
                    f"{named_image(image_id, whose.file)}, which has {' + '.join(map(str, expected))}: "
                    "restore its parts, or certify again"
                )
            seconds = stored.seconds(image_id)
            new.append(_CERTIFY.finished_row(facts, image_id, label, counts, self.certify(counts), seconds, whose))
        return new

    def _expected(self, row: Mapping[Hashable, Any]) -> tuple[int, int]:
        """The numbers of selection and estimation draws behind an image's certificate."""
        if self.source.sampling_method == FIXED:
            return int(self.source.identity["n0"]), self.n
        return int(row["draws"] - row["n_used"]), int(row["n_used"])


def _rejecting(sources: Sequence[SourceRun], results: Where) -> list[SourceRun]:
    """Those that have a rejector. Raises RaysmoothError if none has; names those that have none, if there are any."""
    found = [source for source in sources if source.is_rejecting]
    if not found:
        raise RaysmoothError(f"--rejection: no run in {results} has a rejector: write 'raysmooth certify --rejector'")
    if others := [source.run_id for source in sources if not source.is_rejecting]:
        notify(f"without a rejector, left out: {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}")
    return found


def recertify(
    results: Where,
    runs: str | Sequence[str] | None = None,
    *,
    alpha: float | None = None,
    n: int | None = None,
    noise_bound: str | None = None,
    familywise: float | None = None,
    norm: str | None = None,
    alpha_share: float | None = None,
    rejection: str | None = None,
) -> pd.DataFrame:
    """Certify the images of runs in `results` again, from their stored counts: `runs` by their ids or unambiguous first
    characters (one text may name several, separated by commas), by default all runs sampled there.

    `alpha`; `n`: use the first n estimation draws of each image, in whole blocks; `noise_bound`, an entry of
    NOISE_BOUNDS; `alpha_share`, the fraction of alpha for pA where alpha is split; `familywise`, delta: every image of
    a run at alpha = delta / images; `norm`; `rejection`, "off" for certificates of the same draws without the run's
    rejector (with "on" or "off", `runs` are by default those that have one). Each source run becomes another run in
    `results`, whose rows name it in `source`; their `seconds` are those of the draws used. Repeating the call writes
    only rows of images that the source has finished since. If one run is refused, nothing is written.

    Returns one row per image, as `certify` does. Raises RaysmoothError for changes that the counts do not support.
    """
    changes = Changes(alpha, n, noise_bound, familywise, norm, alpha_share, rejection)
    chosen = (split_list(runs) or [runs]) if isinstance(runs, str) else runs
    sources = source_runs(results, chosen)
    if rejection is not None and chosen is None:
        sources = _rejecting(sources, results)
    planned = [Recertification(source, changes) for source in sources]
    begun = {one.run_id: read_rows(results, _CERTIFY.folder, one.run_id) for one in planned}
    new = [one.new_rows(results, set(begun[one.run_id].get("image_id", ()))) for one in planned]
    for one, rows in zip(planned, new, strict=True):
        if rows:
            with RunStore(results, _CERTIFY.folder, _CERTIFY.schema, one.manifest) as store:
                for row in rows:
                    if row["image_id"] not in store.finished:
                        store.add_row(row)
    return pd.concat([read_rows(results, _CERTIFY.folder, one.run_id) for one in planned], ignore_index=True)
