"""Ledgers of runs in their stores; runs that are finished give their rows without Ray."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch

from raysmooth.actors.replica.replica import identity_on
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.ray_cluster.ray_address import will_be_local
from raysmooth.pipeline.runs.announced_runs import announce
from raysmooth.pipeline.runs.compute_choice import ChosenRun, earlier_compute
from raysmooth.pipeline.runs.ledger import Ledger
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.run_store import RunStore


def finished_ids(procedure: Procedure, runs: Sequence[Run], progress: Progress) -> list[str] | None:
    """The ids of `runs` where all of them are finished and that can be known without Ray, since replicas would be on
    this machine's CPU; otherwise None. Their files are checked as if they were resumed.
    """
    settings = runs[0].settings
    on_cpu = settings.gpus_per_replica == 0 or (settings.gpus_per_replica is None and not torch.cuda.is_available())
    if not (on_cpu and will_be_local(settings.address)):
        return None
    identity, chosen = identity_on(torch.device("cpu")), []
    for run in runs:
        if (compute := earlier_compute(run, identity)) is None:
            return None
        run = replace(run, compute=compute)
        rows = read_rows(run.settings.out, procedure.folder, run_id(run.identity(identity)))
        if len(rows) < len(run.index_set):
            return None
        chosen.append(ChosenRun(run, None))
    with ExitStack() as stores:
        ids, ledgers = open_ledgers(procedure, chosen, identity, stores, lambda _: None)
        if any(ledger.images_left for ledger in ledgers):
            return None
        announce(progress, [one.planned(identity) for one in chosen], dry=False)
        progress.note("raysmooth: nothing to draw, so Ray was not started")
        for ledger in ledgers:
            ledger.conclude()
    return ids


def open_ledgers(
    procedure: Procedure,
    chosen: Sequence[ChosenRun],
    identity: ReplicaIdentity,
    stores: ExitStack,
    speed: Callable[[int], float | None],
) -> tuple[list[str], list[Ledger]]:
    """The ids of the `chosen` runs, and a ledger for each id, whose store is closed with `stores`. `speed` gives the
    expected draws per second of a run by its number.
    """
    ledgers: dict[tuple[str, str], Ledger] = {}
    ids = []
    for number, one in enumerate(chosen):
        manifest = one.run.manifest(identity, one.manifest_entry)
        ids.append(manifest["run_id"])
        place = (one.run.settings.out, ids[-1])
        if place in ledgers:
            continue
        store = stores.enter_context(RunStore(place[0], procedure.folder, procedure.schema, manifest))
        run = one.run.continued(store.manifest)
        ledgers[place] = Ledger(len(ledgers), run, store, speed(number))
    return ids, list(ledgers.values())
