"""How the runs of a job are computed: as they were begun, or as a probe on a replica finds it best. Decided once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.probe import ComputeChoice, ComputeRequest
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.manifest import manifests

_PATH = tuple(ComputeConfig.__dataclass_fields__)


@dataclass(frozen=True)
class Chosen:
    """A run with its path, and how that was found where it was found now."""

    run: Run
    choice: ComputeChoice | None

    def describe(self) -> str:
        """What a person watching should know."""
        path = self.run.path
        assert path is not None, "it is chosen"
        how = "compiled" if path.compiled else "eager"
        why = self.choice.why if self.choice is not None else "as this run, or one of these networks, was begun"
        return f"computing in {path.precision}, {how}, batches of {path.batch_size} ({why})"

    @property
    def compute(self) -> dict[str, Any]:
        """What the manifest says of it."""
        if self.choice is None:
            return {"why": "as a run of these networks was begun"}
        return {"why": self.choice.why, "draws_per_second": self.choice.draws_per_second, "tried": self.choice.tried}


def choose_compute_configs(
    runs: Sequence[Run], replica: ReplicaIdentity, replicas: int, choose: Callable[..., ComputeChoice]
) -> list[Chosen]:
    """`runs`, each with the path by which all its draws are computed.

    A run that stands in its <out> keeps its path. The others of the same networks and image shape share one: that of
    the begun ones, or what `choose` (base, image_shape, asked, draws of one replica) answers for all their draws.
    """
    begun = {number: _begun_path(run, replica) for number, run in enumerate(runs)}
    shared: dict[Any, tuple[ComputeConfig, ComputeChoice | None]] = {}
    for number, run in enumerate(runs):
        if (path := begun[number]) is not None:
            shared.setdefault(_kind(run), (path, None))
    chosen = []
    for number, run in enumerate(runs):
        kind = _kind(run)
        if kind not in shared:
            draws = sum(len(other.index_set) * other.draws_per_image for other in runs if _kind(other) == kind)
            choice = choose(run.base, run.image_shape, _asked(run), int(draws / replicas))
            shared[kind] = (choice.compute, choice)
        path, choice_ = shared[kind]
        chosen.append(Chosen(replace(run, path=begun[number] or path), choice_))
    return chosen


def _asked(run: Run) -> ComputeRequest:
    return ComputeRequest(run.settings.precision, run.settings.compile, run.settings.batch_size)


def _kind(run: Run) -> Any:
    """What runs that are computed alike have in common."""
    return run.base.classifier, run.base.denoiser, run.base.preprocess, run.image_shape, _asked(run)


def _begun_path(run: Run, replica: ReplicaIdentity) -> ComputeConfig | None:
    """The path of the run's manifest, of the first begun where several fit what is asked for."""
    wanted = json.loads(json.dumps(run.identity_but_path(replica)))
    found = []
    # A bad manifest is passed over: the store will refuse it if it is this run's.
    for _, manifest in manifests(run.settings.out, "identity", skip_bad=True):
        identity = dict(manifest.identity)
        try:
            path = ComputeConfig(**{name: identity.pop(name) for name in _PATH})
        except (ValueError, KeyError, TypeError):
            continue
        if identity == wanted and _fits(path, run):
            found.append((manifest.get("started", ""), path))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _fits(path: ComputeConfig, run: Run) -> bool:
    asked: Mapping[str, tuple[Any, Any]] = {
        "precision": (run.settings.precision, path.precision),
        "compile": (run.settings.compile, "on" if path.compiled else "off"),
        "batch_size": (run.settings.batch_size, path.batch_size),
    }
    return all(wanted in ("auto", None, got) for wanted, got in asked.values())
