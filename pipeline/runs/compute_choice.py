"""The compute configuration of each run: that of its manifest, or what a probe on a replica finds best. Chosen once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeConfig, ComputeRequest
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.runs.base_run import BaseRun
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.earlier_runs import PlannedRun
from raysmooth.pipeline.store.manifest import manifests

_FIELDS = tuple(ComputeConfig.__dataclass_fields__)


@dataclass(frozen=True)
class ChosenRun:
    """A run with its compute configuration, and the probe's `choice` where this session made one."""

    run: BaseRun
    choice: ComputeChoice | None

    @property
    def by_timing(self) -> bool:
        """Whether this session has chosen what the settings leave open."""
        if self.choice is None:
            return False
        request = _request(self.run)
        return "auto" in (request.precision, request.compile) or not request.batch_size

    def planned(self, replica: ReplicaIdentity) -> PlannedRun:
        """The run as its folder will have it."""
        return PlannedRun(self.run.settings.out, self.run.identity(replica), self.run.settings, self.by_timing)

    def describe(self) -> str:
        """A note for the user, with the flags that ask for this configuration."""
        compute = self.run.compute
        assert compute is not None, "it is chosen"
        flags = (
            f"--precision {compute.precision} --compile {'on' if compute.compiled else 'off'} "
            f"--batch-size {compute.batch_size}"
        )
        if self.choice is not None and self.choice.guessed_from is not None:
            return "precision, batch size and compiling are not chosen yet: a run times them first"
        if self.choice is None:
            return f"computing as an earlier run of these networks does: {flags}"
        if not self.by_timing:
            return f"computing as requested: {flags}"
        how = "by timing" if self.choice.tried else "here"
        return (
            f"chosen {how}: {flags} ({self.choice.why}); in another --out the same command may choose otherwise and "
            "begin another run: these flags fix it"
        )

    @property
    def manifest_entry(self) -> dict[str, Any]:
        """What the manifest records of the choice."""
        if self.choice is None:
            return {"why": "same as an earlier run of these networks"}
        return {"why": self.choice.why, "draws_per_second": self.choice.draws_per_second, "tried": self.choice.tried}


@dataclass(frozen=True)
class SettledRun(ChosenRun):
    """A run whose compute configuration follows from its settings."""

    @property
    def by_timing(self) -> bool:
        return False

    def describe(self) -> str:
        compute = self.run.compute
        assert compute is not None, "it is settled"
        return f"searching in {compute.precision}, not compiled, --batch-size {compute.batch_size}"

    @property
    def manifest_entry(self) -> dict[str, Any]:
        return {"why": "as every search is computed"}


def choose_compute_configs(
    all_runs: Sequence[BaseRun], replica: ReplicaIdentity, replicas: int, choose: Callable[..., ComputeChoice]
) -> list[ChosenRun]:
    """`all_runs`, which are of one procedure, each with the compute configuration of all its draws. Searches have one.

    A run that has a manifest in its <out> keeps its configuration. The others of the same networks and image shape
    share one: that of a run with a manifest, or what `choose` (base, image_shape, request, draws of one replica)
    answers for all their draws.
    """
    runs = [run for run in all_runs if isinstance(run, Run)]
    if len(runs) < len(all_runs):
        return [SettledRun(run, None) for run in all_runs]
    earlier = {number: earlier_compute(run, replica) for number, run in enumerate(runs)}
    shared: dict[Any, tuple[ComputeConfig, ComputeChoice | None]] = {}
    for number, run in enumerate(runs):
        if (compute := earlier[number]) is not None:
            shared.setdefault(_sharing_key(run), (compute, None))
    chosen = []
    for number, run in enumerate(runs):
        key = _sharing_key(run)
        if key not in shared:
            draws = sum(len(other.index_set) * other.draws_per_image for other in runs if _sharing_key(other) == key)
            choice = choose(run.base, run.image_shape, _request(run), int(draws / replicas))
            shared[key] = (choice.compute, choice)
        compute, shared_choice = shared[key]
        found = shared_choice.unsteady if shared_choice is not None else None
        run = replace(run, compute=earlier[number] or compute, unsteady=run.unsteady or found)
        chosen.append(ChosenRun(run, shared_choice))
    return chosen


def settled_request(compute: ComputeConfig) -> ComputeRequest:
    """The request that only `compute` meets."""
    return ComputeRequest(compute.precision, "on" if compute.compiled else "off", compute.batch_size)


def _request(run: BaseRun) -> ComputeRequest:
    settings = run.settings
    assert isinstance(settings, SamplingSettings), settings
    return ComputeRequest(settings.precision, settings.compile, settings.batch_size)


def _sharing_key(run: Run) -> Any:
    """Equal for runs that share a compute configuration."""
    base = run.base
    return base.classifier, base.denoiser, base.preprocess, base.resizing, run.image_shape, _request(run)


def earlier_compute(run: BaseRun, replica: ReplicaIdentity) -> ComputeConfig | None:
    """The compute configuration in the run's manifest; of several that fit the settings, that of the oldest run."""
    if not isinstance(run, Run):
        return run.compute
    wanted = json.loads(json.dumps(run.identity_without_compute(replica)))
    found = []
    # A bad manifest is passed over: the store will refuse it if it is this run's.
    for _, manifest in manifests(run.settings.out, "identity", skip_bad=True):
        identity = dict(manifest.identity)
        try:
            compute = ComputeConfig(**{name: identity.pop(name) for name in _FIELDS})
        except (ValueError, KeyError, TypeError):
            continue
        if identity == wanted and _fits(compute, run):
            found.append((manifest.get("started", ""), compute))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _fits(compute: ComputeConfig, run: Run) -> bool:
    """Whether a configuration is what the settings ask for."""
    asked: Mapping[str, tuple[Any, Any]] = {
        "precision": (run.settings.precision, compute.precision),
        "compile": (run.settings.compile, "on" if compute.compiled else "off"),
        "batch_size": (run.settings.batch_size, compute.batch_size),
    }
    return all(wanted in ("auto", None, got) for wanted, got in asked.values())
