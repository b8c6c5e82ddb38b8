"""Ledgers of runs in their stores; runs that are finished give their rows without Ray and, mostly, without torch."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pandas as pd

from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.drawing.announced_runs import announce, checked_runs
from raysmooth.pipeline.drawing.ledgers import open_ledgers
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.ray_cluster.ray_address import will_be_local
from raysmooth.pipeline.runs.base_run import AnyProcedure, BaseRun
from raysmooth.pipeline.runs.compute_choice import ChosenRun, earlier_compute
from raysmooth.pipeline.runs.network_facts import NetworkFacts, recorded_facts, spec_at, surely_on_cpu
from raysmooth.pipeline.runs.prepare import RunData, prepare
from raysmooth.pipeline.runs.settings import NoisySettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import count_images, read_rows


@dataclass(frozen=True)
class Beforehand:
    """What is known of the runs of a command without torch: their `ids` if all of them are finished, and the data of
    the first settings as far as it has been read.
    """

    ids: list[str] | None = None
    opened: tuple[RunData, ...] = ()


def look_beforehand(
    procedure: AnyProcedure, all_settings: Sequence[NoisySettings], show_progress: bool = True
) -> Beforehand:
    """Whether the runs of `all_settings` are finished, as far as that can be known without torch: where an earlier run
    in their <out> recorded what the networks are, from the same files, with the same libraries, on the same kind of
    processor. Everything else decides as ever: data are read again, and the runs' files checked as if they were
    resumed. Raises RaysmoothError as `run_procedure` does.
    """
    if not all(surely_on_cpu(settings) and will_be_local(settings.address) for settings in all_settings):
        return Beforehand()
    recorded: list[tuple[NetworkFacts, ReplicaIdentity]] = []
    for settings in all_settings:
        for sigma in settings.sigma:
            spec, noise = spec_at(settings, sigma), noise_family(settings.noise, sigma)
            if (found := recorded_facts(settings, spec, noise)) is None:
                return Beforehand()
            recorded.append(found)
    progress, identity = Progress(show_progress), recorded[0][1]
    if any(replica.kind != identity.kind for _, replica in recorded):
        return Beforehand()
    opened: list[RunData] = []
    runs: list[BaseRun] = []
    facts = iter(recorded)
    for settings in all_settings:
        opened.append(RunData.of(settings))
        own = [next(facts)[0] for _ in settings.sigma]
        if any(one.image_shape != opened[-1].first.shape for one in own):
            return Beforehand(None, tuple(opened))
        remaining = iter(own)
        runs += prepare(procedure, settings, opened[-1], lambda *_, left=remaining: next(left))
    if (chosen := _finished(procedure, runs, identity)) is None:
        return Beforehand(None, tuple(opened))
    runs = checked_runs(procedure, all_settings, progress, runs=runs)
    return Beforehand(_concluded(chosen, identity, progress), tuple(opened))


def finished_ids(
    procedure: AnyProcedure, runs: Sequence[BaseRun], identity: ReplicaIdentity, progress: Progress
) -> list[str] | None:
    """The ids of `runs` where all of them are finished, as a replica of this `identity` draws them; otherwise None.
    Their files are checked as if they were resumed.
    """
    chosen = _finished(procedure, runs, identity)
    return None if chosen is None else _concluded(chosen, identity, progress)


def _finished(procedure: AnyProcedure, runs: Sequence[BaseRun], identity: ReplicaIdentity) -> list[ChosenRun] | None:
    """`runs` as they were computed, where each has rows of all images; otherwise None."""
    chosen = []
    for run in runs:
        if (compute := earlier_compute(run, identity)) is None:
            return None
        run = replace(run, compute=compute)
        if count_images(run.settings.out, procedure.folder, run_id(run.identity(identity))) < len(run.index_set):
            return None
        chosen.append(ChosenRun(run, None))
    return chosen


def _concluded(chosen: Sequence[ChosenRun], identity: ReplicaIdentity, progress: Progress) -> list[str] | None:
    """The ids of the `chosen` runs, after their files have been checked; None if an image lacks its row."""
    with ExitStack() as stores:
        ids, ledgers = open_ledgers(chosen, identity, stores, lambda _: None)
        if any(ledger.images_left for ledger in ledgers):
            return None
        announce(progress, [one.planned(identity) for one in chosen], dry=False)
        progress.note("raysmooth: nothing to draw, so Ray was not started")
        for ledger in ledgers:
            ledger.conclude()
    return ids


def stored_rows(
    procedure: AnyProcedure, all_settings: Sequence[NoisySettings], ids: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """The rows of the runs `ids` of each of the settings, in this order, those of a shared run once."""
    places = dict.fromkeys(
        (settings.out, run_id) for settings, own in zip(all_settings, ids, strict=True) for run_id in own
    )
    return pd.concat([read_rows(out, procedure.folder, run_id) for out, run_id in places], ignore_index=True)
