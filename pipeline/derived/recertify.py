"""Certificates computed anew from stored counts, without drawing: with another alpha, fewer draws, a bound of its own
on the runner-up, in another norm, or so that all of them hold at once.

What is allowed is what the draws support. Of a run that is sampled "fixed" that is everything: its first draws are
those of a run with fewer. An adaptive run settled how many estimation draws an image gets before it made them, so every
bound at every alpha holds for them; with a smaller n its pilots would have settled on other numbers. A run that decides
one radius stopped by its evidence about that radius, which may be held against another alpha whenever that was (Ville's
inequality), but bounds nothing else.

Each recertification keeps its promise by itself. The best of several, chosen image by image after looking, does not.
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
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import FIXED, decided_at
from raysmooth.pipeline.analysis.run_facts import RECERTIFIED
from raysmooth.pipeline.certification.certificate import NOISE_BOUNDS, Certificate, largest_p_lower
from raysmooth.pipeline.certification.sampling_rule import Counts
from raysmooth.pipeline.certification.sequential_test import Decide, reachable
from raysmooth.pipeline.derived.source_runs import SourceRun, source_runs
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import SCHEME, run_id
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.pipeline.store.stored_counts import StoredCounts
from raysmooth.storage.location import Where, located

_CERTIFY = PROCEDURES["certify"]


@dataclass(frozen=True)
class Asked:
    """What is to be otherwise; None is as the source run has it. Raises RaysmoothError for what cannot be, or is
    nothing.
    """

    alpha: float | None = None
    n: int | None = None
    noise_bound: str | None = None
    familywise: float | None = None
    norm: str | None = None

    def __post_init__(self) -> None:
        if all(value is None for value in vars(self).values()):
            raise RaysmoothError(
                "nothing is to be otherwise: write --alpha 0.01, --n 1000, --noise-bound runner-up, "
                "--familywise 0.05 or --norm linf, say"
            )
        for flag, share in (("alpha", self.alpha), ("familywise", self.familywise)):
            if share is not None and not 0 < share < 1:
                raise RaysmoothError(f"--{flag} {share:g}: write a probability between 0 and 1, such as 0.001")
        if self.alpha is not None and self.familywise is not None:
            raise RaysmoothError("--familywise makes an alpha of its own, DELTA / images: leave --alpha out")
        if self.n is not None and self.n < 1:
            raise RaysmoothError(f"--n {self.n}: write 1 or more")
        if self.noise_bound is not None:
            NOISE_BOUNDS[self.noise_bound]


_UNSUPPORTED = {
    ("adaptive", "n"): "how many draws an image got was settled for n={n}",
    ("decide", "n"): "an image's draws ended with its decision",
    ("decide", "noise_bound"): "its draws tell only whether pA clears one bound",
    ("decide", "norm"): "what it decided is a radius in {norm}",
}
"""Why a run that is sampled so cannot have that changed."""


@dataclass(frozen=True)
class Recertification:
    """A source run, and how its images are certified now. Raises RaysmoothError where its draws do not support that, or
    could only abstain.
    """

    source: SourceRun
    asked: Asked

    def __post_init__(self) -> None:
        was, run = self.source.identity, f"run {self.source.run_id}"
        if self.norm not in (norms := NOISES[was["noise"]].norms):
            has = f"{was['noise']} noise, which gives radii in {' or '.join(norms)}"
            raise RaysmoothError(f"--norm {self.norm}: {run} drew {has}: write --norm {' or '.join(norms)}")
        if self.n > was["n"]:
            raise RaysmoothError(
                f"--n {self.n}: {run} has n={was['n']} draws an image: write that or less, or draw it anew"
            )
        now = {"n": (self.n, was["n"]), "norm": (self.norm, was["norm"]), "noise_bound": (self.bound, "complement")}
        for name, (value, before) in now.items():
            if value != before and (reason := _UNSUPPORTED.get((self.source.way, name))) is not None:
                raise RaysmoothError(
                    f"--{name.replace('_', '-')} {value}: {run} is sampled {was['sampling']}, and "
                    f"{reason.format(**was)}: draw it anew with 'raysmooth certify', or choose other runs with --run"
                )
        size = was["block_size"]
        if self.n % size and self.n != was["n"]:
            below, above = self.n // size * size, min(self.n // size * size + size, was["n"])
            near = [f"--n {n}" for n in (below, above) if n]
            raise RaysmoothError(
                f"--n {self.n}: {run} has counted its draws in blocks of {size}: write {' or '.join(near)}"
            )
        self._refuse_hopeless()

    def _refuse_hopeless(self) -> None:
        share = NOISE_BOUNDS[self.bound].share
        if (decided := decided_at(self.source.identity.get("sampling", FIXED))) < np.inf:
            hopeless = not reachable(self.n, self.alpha, self.noise.needed(decided))
        else:
            hopeless = largest_p_lower(self.n, self.alpha * share) <= 0.5
        if hopeless:
            larger = ["--familywise" if self.asked.familywise else "--alpha", *(["--n"] if self.asked.n else [])]
            raise RaysmoothError(
                f"n={self.n} draws at alpha={self.alpha:g} ({self.bound} bound) can only abstain in run "
                f"{self.source.run_id}: write a larger {' or '.join(larger)}"
            )

    @property
    def alpha(self) -> float:
        """Of an image; with `familywise`, delta over the number of the run's images, finished or not: the union bound
        makes all certificates of the run hold at once with probability at least 1 - delta.
        """
        if self.asked.familywise is not None:
            return float(self.asked.familywise / self.source.identity["images"])
        return float(self.asked.alpha if self.asked.alpha is not None else self.source.identity["alpha"])

    @property
    def n(self) -> int:
        return int(self.asked.n if self.asked.n is not None else self.source.identity["n"])

    @property
    def norm(self) -> str:
        return str(self.asked.norm or self.source.identity["norm"])

    @property
    def bound(self) -> str:
        return self.asked.noise_bound or "complement"

    @cached_property
    def noise(self) -> NoiseFamily:
        was = self.source.identity
        return noise_family(was["noise"], was["sigma"], self.norm, prod(self.source.manifest["image_shape"]))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that decides the rows, as JSON values: what decided the source's, and what is otherwise."""
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
            "familywise": self.asked.familywise,
        }

    @property
    def run_id(self) -> str:
        return run_id(self.identity)

    @property
    def manifest(self) -> dict[str, Any]:
        """The source's, which says how it was drawn, with what is otherwise."""
        return {
            **self.source.manifest,
            "run_id": self.run_id,
            "identity": self.identity,
            "source_run": self.source.run_id,
            "settings": {**self.source.manifest["settings"], "n": self.n, "alpha": self.alpha, "norm": self.norm},
            "recertified": {**asdict(self.asked), "at": datetime.now(UTC).isoformat(timespec="seconds")},
        }

    def certify(self, counts: Counts) -> Certificate:
        """The certificate of one image."""
        was = self.source.identity
        if self.source.way == "decide":
            radius = decided_at(was["sampling"])
            return Decide(was["n0"], self.n, self.alpha, self.noise, radius).conclude(counts)
        bound = NOISE_BOUNDS[self.bound]
        return bound.certify(counts[Role.SELECTION], counts[Role.ESTIMATION], self.noise, self.alpha)

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """Rows of the source's images that are not `done`. An error stays one. Raises RaysmoothError where counts are
        not those of the rows.
        """
        rows = self.source.rows[~self.source.rows["image_id"].isin(done)]
        fine = rows[rows["status"] != "error"]
        blocks = -(-self.n // self.source.identity["block_size"]) if self.source.way == FIXED else None
        stored = StoredCounts(
            out, self.source.run_id, self.source.manifest["num_classes"], set(fine["image_id"]), blocks
        )
        names = _CERTIFY.schema.names
        facts = {name: self.identity.get(name) for name in names[: names.index("images") + 1]}
        facts |= {"objective": self.source.manifest["objective"], "sampling": self.identity.get("sampling", FIXED)}
        new = []
        for row in rows.to_dict("records"):
            image_id, label = int(row["image_id"]), None if pd.isna(row["label"]) else int(row["label"])
            if row["status"] == "error":
                new.append(_CERTIFY.error_row(facts, image_id, label, row["error"], row["seconds"]))
                continue
            counts = stored.of(image_id)
            found, expected = (int(counts[role].sum()) for role in Role), self._expected(row)
            if tuple(found) != expected:
                raise RaysmoothError(
                    f"{located(out) / 'runs' / self.source.run_id / 'counts'} lacks draws of image {image_id}, "
                    f"which has {' + '.join(map(str, expected))}: bring its parts back, or draw the run anew"
                )
            seconds = stored.seconds(image_id)
            new.append(_CERTIFY.finished_row(facts, image_id, label, counts, self.certify(counts), seconds))
        return new

    def _expected(self, row: Mapping[Hashable, Any]) -> tuple[int, int]:
        """The selection and estimation draws on which an image's certificate rests."""
        if self.source.way == FIXED:
            return int(self.source.identity["n0"]), self.n
        return int(row["draws"] - row["n_used"]), int(row["n_used"])


def recertify(
    out: Where,
    runs: str | Sequence[str] | None = None,
    *,
    alpha: float | None = None,
    n: int | None = None,
    noise_bound: str | None = None,
    familywise: float | None = None,
    norm: str | None = None,
) -> pd.DataFrame:
    """Certify the images of runs in <out> anew, from their stored counts: `runs` by their ids or as much of these as
    is unambiguous (one text may name several, with commas between), by default all that were drawn there.

    `alpha`; `n`, the first so many estimation draws of each image, whole blocks; `noise_bound`, a row of NOISE_BOUNDS;
    `familywise`, delta: every image of a run at alpha = delta / images; `norm`. Each source run becomes another run in
    <out>, whose rows name it in `source`; their `seconds` are those of the draws that they rest on. The same again
    writes only rows of images that the source has finished since. Nothing is written if a run refuses.

    Returns one row an image, as `certify` does. Raises RaysmoothError for what the counts do not support.
    """
    asked = Asked(alpha, n, noise_bound, familywise, norm)
    chosen = [text.strip() for text in runs.split(",")] if isinstance(runs, str) else runs
    planned = [Recertification(source, asked) for source in source_runs(out, chosen)]
    begun = {one.run_id: read_rows(out, _CERTIFY.folder, one.run_id) for one in planned}
    new = [one.new_rows(out, set(begun[one.run_id].get("image_id", ()))) for one in planned]
    for one, rows in zip(planned, new, strict=True):
        if rows:
            with RunStore(out, _CERTIFY.folder, _CERTIFY.schema, one.manifest) as store:
                for row in rows:
                    if row["image_id"] not in store.finished:
                        store.add_row(row)
    return pd.concat([read_rows(out, _CERTIFY.folder, one.run_id) for one in planned], ignore_index=True)
