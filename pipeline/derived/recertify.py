"""Certificates recomputed from stored counts, without new draws: with another alpha, fewer draws, a separate bound on
the runner-up, in another norm, or so that all of them hold at once.

The draws decide which changes are valid. A run with "fixed" sampling supports all of them: its first draws are those of
a run with fewer. An adaptive run fixed the number of estimation draws of an image before making them, so every bound at
every alpha is valid; with a smaller n, its pilots would have chosen other numbers. A run that decides one radius
stopped by its evidence about that radius, which may be compared with another alpha at any time (Ville's inequality),
but supports no other statement.

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
from raysmooth.pipeline.certification.certificate import NOISE_BOUNDS, Certificate, largest_p_lower
from raysmooth.pipeline.certification.sampling_rule import Counts, Fixed
from raysmooth.pipeline.certification.sequential_test import Decide, reachable
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

_CERTIFY = PROCEDURES["certify"]


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

    def __post_init__(self) -> None:
        if all(value is None for value in vars(self).values()):
            raise RaysmoothError(
                "recertify needs a change: write --alpha 0.01, --n 1000, --noise-bound runner-up, --familywise 0.05 or "
                "--norm linf, for example"
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


_UNSUPPORTED = {
    ("adaptive", "n"): "its numbers of draws per image were chosen for n={n}",
    ("decide", "n"): "an image's draws stopped at its decision",
    ("decide", "noise_bound"): "its draws only show whether pA exceeds one bound",
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
        now = {"n": (self.n, was["n"]), "norm": (self.norm, was["norm"]), "noise_bound": (self.bound, "complement")}
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

    def _refuse_hopeless(self) -> None:
        share = NOISE_BOUNDS[self.bound].share
        if (decided := decided_at(self.source.identity.get("sampling", FIXED))) < np.inf:
            hopeless = not reachable(self.n, self.alpha, self.noise.needed(decided))
        else:
            hopeless = largest_p_lower(self.n, self.alpha * share) <= 0.5
        if hopeless:
            larger = ["--familywise" if self.changes.familywise else "--alpha", *(["--n"] if self.changes.n else [])]
            raise RaysmoothError(
                f"n={self.n} draws at alpha={self.alpha:g} ({self.bound} bound) can only abstain in run "
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
    def bound(self) -> str:
        return self.changes.noise_bound or "complement"

    @cached_property
    def noise(self) -> NoiseFamily:
        was = self.source.identity
        return noise_family(was["noise"], was["sigma"], self.norm, prod(self.source.manifest["image_shape"]))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the rows, as JSON values: the source's identity, and the changes."""
        return {
            **self.source.identity,
            "scheme": SCHEME,
            "procedure": "recertify",
            "source": f"{RECERTIFIED}{self.source.run_id}",
            "source_run": self.source.run_id,
            "norm": self.norm,
            "n": self.n,
            "alpha": self.alpha,
            "noise_bound": self.bound,
            "familywise": self.changes.familywise,
        }

    @property
    def run_id(self) -> str:
        return run_id(self.identity)

    @property
    def manifest(self) -> dict[str, Any]:
        """The source's manifest, which records how it was sampled, with the changes."""
        return {
            **self.source.manifest,
            "run_id": self.run_id,
            "identity": self.identity,
            "source_run": self.source.run_id,
            "settings": {**self.source.manifest["settings"], "n": self.n, "alpha": self.alpha, "norm": self.norm},
            "recertified": {**asdict(self.changes), "at": datetime.now(UTC).isoformat(timespec="seconds")},
        }

    def certify(self, counts: Counts) -> Certificate:
        """The certificate of one image."""
        was = self.source.identity
        if self.source.sampling_method == "decide":
            radius = decided_at(was["sampling"])
            return Decide(was["n0"], self.n, self.alpha, self.noise, radius).conclude(counts)
        return Fixed(was["n0"], self.n, self.alpha, self.noise, self.bound).conclude(counts)

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


def recertify(
    results: Where,
    runs: str | Sequence[str] | None = None,
    *,
    alpha: float | None = None,
    n: int | None = None,
    noise_bound: str | None = None,
    familywise: float | None = None,
    norm: str | None = None,
) -> pd.DataFrame:
    """Certify the images of runs in `results` again, from their stored counts: `runs` by their ids or unambiguous first
    characters (one text may name several, separated by commas), by default all runs sampled there.

    `alpha`; `n`: use the first n estimation draws of each image, in whole blocks; `noise_bound`, an entry of
    NOISE_BOUNDS; `familywise`, delta: every image of a run at alpha = delta / images; `norm`. Each source run becomes
    another run in `results`, whose rows name it in `source`; their `seconds` are those of the draws used. Repeating the
    call writes only rows of images that the source has finished since. If one run is refused, nothing is written.

    Returns one row per image, as `certify` does. Raises RaysmoothError for changes that the counts do not support.
    """
    changes = Changes(alpha, n, noise_bound, familywise, norm)
    chosen = (split_list(runs) or [runs]) if isinstance(runs, str) else runs
    planned = [Recertification(source, changes) for source in source_runs(results, chosen)]
    begun = {one.run_id: read_rows(results, _CERTIFY.folder, one.run_id) for one in planned}
    new = [one.new_rows(results, set(begun[one.run_id].get("image_id", ()))) for one in planned]
    for one, rows in zip(planned, new, strict=True):
        if rows:
            with RunStore(results, _CERTIFY.folder, _CERTIFY.schema, one.manifest) as store:
                for row in rows:
                    if row["image_id"] not in store.finished:
                        store.add_row(row)
    return pd.concat([read_rows(results, _CERTIFY.folder, one.run_id) for one in planned], ignore_index=True)
