"""One run and the changes with which it is certified again: whether its draws support them, and the certificate of one
image.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from raysmooth.actors.models.rejectors import UNANSWERED
from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
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
from raysmooth.pipeline.certification.own_level import within
from raysmooth.pipeline.certification.pair_test import decision_test
from raysmooth.pipeline.certification.rejected_draws import without_rejection
from raysmooth.pipeline.certification.sampling_rule import Counts, Fixed
from raysmooth.pipeline.certification.sequential_test import Decide
from raysmooth.pipeline.certification.top_k import TopK, TopKCertificate, refuse_no_choice
from raysmooth.pipeline.derived.changes import Changes
from raysmooth.pipeline.derived.source_runs import SourceRun
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.sigma_rules import class_share, is_certified_rule

NOT_REJECTING = {"rejector": None, "rejector_fingerprint": None, "rejection": "off"}
"""What the identity has where the counts of a run with a rejector are certified without it."""


_UNSUPPORTED = {
    ("adaptive", "n"): "its numbers of draws per image were chosen for n={n}",
    ("decide", "n"): "an image's draws stopped at its decision",
    ("decide", "noise_bound"): "its draws were stopped by the evidence of that bound's test",
    ("decide", "alpha_share"): "its test does not split alpha",
    ("decide", "top_k"): "an image's draws stopped by the evidence about one radius, which bounds no probability",
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
        if self.changes.rejection == "off" and was.get("rejector") == UNANSWERED:
            raise RaysmoothError(
                f"--rejection off: {run} is of a vision API, and draws that it left unanswered have no class: leave it "
                "out, or choose others with --run"
            )
        if self.changes.noise_bound == REJECTION and not self.source.is_rejecting:
            raise RaysmoothError(
                f"--noise-bound {REJECTION}: {run} has no rejector: choose others with --run, or write --noise-bound "
                f"{RUNNER_UP}"
            )
        if self.alpha != was["alpha"] and is_certified_rule(was.get("sigma_rule")):
            raise RaysmoothError(
                f"{'--familywise' if self.changes.familywise else '--alpha'}: {run} shares its alpha with the search "
                f"{was['sigmas_run']}, which certified its levels with half of alpha={was['alpha']:g}: search again "
                "with another alpha, or choose other runs with --run"
            )
        before = was.get("noise_bound", COMPLEMENT)
        now = {
            "n": (self.n, was["n"]),
            "norm": (self.norm, was["norm"]),
            "noise_bound": (self.changes.noise_bound or before, before),
            "alpha_share": (self.changes.alpha_share, None),
            "top_k": (self.changes.top_k, None),
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
        if self.changes.top_k is not None and "query_identity" in was:
            raise RaysmoothError(
                f"--top-k {self.changes.top_k}: {run} is of a vision API, whose labels are an open set in which each "
                "answer has one: choose others with --run"
            )
        refuse_no_choice(self.changes.top_k, self.source.manifest["num_classes"])
        self._refuse_hopeless()

    def _test(self, radius: float) -> Decide:
        return decision_test(
            self.source.identity["n0"], self.n, self.alpha, self.noise, radius, self.bound.name, self.rejecting
        )

    def _refuse_hopeless(self) -> None:
        if (decided := decided_at(self.source.identity.get("sampling", FIXED))) < np.inf:
            hopeless = not self._test(decided).reaches(self.n, decided)
        else:
            hopeless = not can_certify(self.n, self.class_alpha, self.bound.part)
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
    def class_alpha(self) -> float:
        """The part of alpha for class probabilities: half of it where the level was certified too."""
        return self.alpha * class_share(self.source.identity.get("sigma_rule"))

    @property
    def n(self) -> int:
        return int(self.changes.n if self.changes.n is not None else self.source.identity["n"])

    @property
    def norm(self) -> str:
        return str(self.changes.norm or self.source.identity["norm"])

    @property
    def top_k(self) -> int | None:
        """The k of its top-k certificates, by default the source's; None without any."""
        k = self.changes.top_k if self.changes.top_k is not None else self.source.identity.get("top_k")
        return None if k is None else int(k)

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
            **({} if self.top_k is None else {"top_k": self.top_k}),
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

    def certify(self, counts: Counts, level: float | None = None, same_within: float | None = None) -> Certificate:
        """The certificate of one image; `level` is its own noise level, if it has one. `same_within`: the radius, in
        the noise's default norm, within which a certified selector gives this level.
        """
        counts = self._now(counts)
        if self.source.sampling_method == "decide":
            return self._test(decided_at(self.source.identity["sampling"])).conclude(counts)
        noise = self.noise if level is None else self.noise.at(level)
        n0, bound = self.source.identity["n0"], self.bound
        rule = Fixed(n0, self.n, self.class_alpha, noise, bound.name, bound.share, self.rejecting)
        certificate = rule.conclude(counts)
        return certificate if same_within is None else within(certificate, noise.in_norm(same_within))

    def certify_top_k(
        self,
        counts: Counts,
        certificate: Certificate,
        label: int | None,
        level: float | None = None,
        same_within: float | None = None,
    ) -> TopKCertificate | None:
        """The top-k certificates of one image, whose `certificate` is that of `certify`; None if there are to be none.
        `level` and `same_within` as there.
        """
        if self.top_k is None:
            return None
        noise = self.noise if level is None else self.noise.at(level)
        same = None if same_within is None else noise.in_norm(same_within)
        rests_on = TopK(self.top_k, self.class_alpha, noise, self.bound.name, self.rejecting, same)
        return rests_on.certify(self._now(counts), certificate, label)

    def _now(self, counts: Counts) -> Counts:
        """The counts of the same draws without the source's rejector, where it is left out."""
        if self.source.is_rejecting and not self.rejecting:
            return {role: without_rejection(own) for role, own in counts.items()}
        return counts
