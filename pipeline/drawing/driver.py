"""The driver: checks settings, starts the pool, feeds it the units of all runs, and sees every image to its row."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, cast

import pandas as pd
import torch

from raysmooth.actors.compute.compute_config import ComputeChoice
from raysmooth.actors.replica.replica import identity_on
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.drawing.announced_runs import announce, checked_runs, warn
from raysmooth.pipeline.drawing.draw_all import draw_all
from raysmooth.pipeline.drawing.finished_runs import finished_ids, stored_rows
from raysmooth.pipeline.drawing.heartbeat import Heartbeat
from raysmooth.pipeline.drawing.ledgers import open_ledgers
from raysmooth.pipeline.drawing.query_driver import asks_api, run_queries
from raysmooth.pipeline.drawing.searched_levels import with_found_levels
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.replica_resources import settle_replicas
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.ray_cluster.cluster import connected
from raysmooth.pipeline.ray_cluster.one_ray import one_ray
from raysmooth.pipeline.ray_cluster.ray_address import will_be_local
from raysmooth.pipeline.ray_cluster.ray_session import open_session
from raysmooth.pipeline.runs.base_run import AnyProcedure, BaseRun
from raysmooth.pipeline.runs.compute_choice import ChosenRun, choose_compute_configs
from raysmooth.pipeline.runs.image_level_settings import asks_for_search
from raysmooth.pipeline.runs.prepare import RunData
from raysmooth.pipeline.runs.settings import NoisySettings


def run_procedure(
    procedure: AnyProcedure,
    all_settings: Sequence[NoisySettings],
    show_progress: bool = True,
    opened: Sequence[RunData] = (),
) -> pd.DataFrame:
    """Certify, or predict, all images of `all_settings` on one pool of replicas, and return their rows.

    Each sigma of each of them is a run. Images finished by earlier sessions keep their rows; only the rest is drawn.
    The pool (replicas, their resources, the cluster's address) is that of the first settings; `out` may differ.
    `opened` is the data of the first of the settings, as far as it has been read.

    Weights whose card names other noise than the run's cause one warning before Ray starts: among the notes on
    standard error, as "raysmooth: warning: ...", or as a Python warning where `show_progress` is off, so that a
    notebook shows it and can filter it like any other. The runs' manifests keep it.

    Returns one row per image, columns as in `<out>/<procedure's folder>` plus `run_id`, in the order of runs and
    images. Raises RaysmoothError for every error that can be found before Ray starts, and later where continuing is
    pointless. Finished work is on disk in either case, also on KeyboardInterrupt.
    """
    return stored_rows(procedure, all_settings, run_all(procedure, all_settings, show_progress, opened))


def run_all(
    procedure: AnyProcedure,
    all_settings: Sequence[NoisySettings],
    show_progress: bool = True,
    opened: Sequence[RunData] = (),
) -> Sequence[Sequence[str]]:
    """As `run_procedure`, but returns the run ids of each of `all_settings`, one for each sigma. They may share
    a run. Searches that settings ask for come first, one after the other. Vision APIs are asked after all else.
    """
    asked = [place for place, settings in enumerate(all_settings) if asks_api(settings)]
    if asked:
        others = [place for place in range(len(all_settings)) if place not in asked]
        ids: dict[int, Sequence[str]] = {}
        with one_ray():
            if others:
                drawn = run_all(procedure, [all_settings[place] for place in others], show_progress)
                ids.update(zip(others, drawn, strict=True))
            apis = [settings for settings in all_settings if asks_api(settings)]
            answered = run_queries(procedure, apis, show_progress, opened if 0 in asked else ())
            ids.update(zip(asked, answered, strict=True))
        return [ids[place] for place in range(len(all_settings))]
    if not any(map(asks_for_search, all_settings)):
        return _run_all(procedure, all_settings, show_progress, opened)
    with one_ray():
        found = [with_found_levels(settings, show_progress) for settings in all_settings]
        return _run_all(procedure, found, show_progress, opened)


def _run_all(
    procedure: AnyProcedure, all_settings: Sequence[NoisySettings], show_progress: bool, opened: Sequence[RunData]
) -> Sequence[Sequence[str]]:
    """`run_all` for settings whose levels are known."""
    progress, started = Progress(show_progress), monotonic()
    runs = checked_runs(procedure, all_settings, progress, opened=opened)
    settings = runs[0].settings
    on_cpu = settings.gpus_per_replica == 0 or (settings.gpus_per_replica is None and not torch.cuda.is_available())
    ids = None
    if on_cpu and will_be_local(settings.address):
        ids = finished_ids(procedure, runs, identity_on(torch.device("cpu")), progress)
    if ids is None:
        ids = _drawn_ids(procedure, runs, progress, started)
    remaining = iter(ids)
    return [list(islice(remaining, len(settings.sigma))) for settings in all_settings]


def _drawn_ids(procedure: AnyProcedure, runs: Sequence[BaseRun], progress: Progress, started: float) -> list[str]:
    """Draw what is missing of `runs`; returns their ids."""
    with open_driver_session(procedure, runs, progress, started) as session, ExitStack() as stores:
        ids, all_ledgers = open_ledgers(session.chosen, session.identity, stores, session.draws_per_second)
        drawn = all_ledgers if any(ledger.images_left for ledger in all_ledgers) else []
        with Heartbeat(session.pool.telemetry, all_ledgers):
            session.make_ready([ledger.sampling for ledger in drawn], [ledger.run.image_shape for ledger in drawn])
            draw_all(session.pool, all_ledgers, progress, session.started)
    return ids


@dataclass
class DriverSession:
    """One command's pool of `replicas` and its runs, each with its compute configuration. `identity` is that of the
    replicas; `started` and `pool_up` are times of the monotonic clock.
    """

    procedure: AnyProcedure
    pool: Pool
    identity: ReplicaIdentity
    replicas: int
    chosen: list[ChosenRun]
    progress: Progress
    started: float
    pool_up: float

    def draws_per_second(self, index: int) -> float | None:
        """Expected speed of all replicas in a run; None if the probe did not measure it."""
        choice = self.chosen[index].choice
        return choice.draws_per_second * self.replicas if choice is not None else None

    def make_ready(
        self, samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]], patience: float = 0.0
    ) -> None:
        """Have the replicas load and compile the networks of `samplings`, one per run, for images of `shapes`. Waits
        until one replica can draw, and up to `patience` seconds more until all can; not at all without samplings.
        """
        tuned = monotonic()
        if samplings:
            self.progress.note("raysmooth: loading the networks on the replicas ...")
            self.pool.prepare(samplings, shapes)
            self.pool.wait_prepared(patience)
        runs = f"{len(self.chosen)} run{'s' * (len(self.chosen) > 1)}"
        replicas = f"{self.replicas} replica{'s' * (self.replicas > 1)}"
        self.progress.note(f"{self.procedure.name}: {runs} on {replicas} on {self.identity.device}")
        for line in dict.fromkeys(chosen.describe() for chosen in self.chosen):
            self.progress.note(line)
        self.progress.note(
            f"ready after {monotonic() - self.started:.1f} s: settings and Ray {self.pool_up - self.started:.1f} s, "
            f"tuning precision and batch size {tuned - self.pool_up:.1f} s, "
            f"loading and compiling {monotonic() - tuned:.1f} s"
        )


@contextmanager
def open_driver_session(
    procedure: AnyProcedure, runs: Sequence[BaseRun], progress: Progress, started: float, dry: bool = False
) -> Iterator[DriverSession]:
    """Ray, the replicas and the compute configurations of `runs`. Leaving the context stops the replicas. A `dry` run
    takes as many replicas as fit where more are requested.
    """
    settings = runs[0].settings
    kept = open_session()
    if kept is None:
        progress.note("raysmooth: waiting for Ray and its replicas, which load torch ...")
    with progress, connected(settings.address, settings.verbose, progress.note, keeps_replicas=True) as cluster:
        settle = partial(
            settle_replicas,
            cluster,
            gpus_per_replica=settings.gpus_per_replica,
            cpus_per_replica=settings.cpus_per_replica,
            units=sum(run.blocks for run in runs),
        )
        try:
            replicas, most, resources = settle(replicas=settings.replicas)
        except RaysmoothError:
            if not dry:
                raise
            replicas, most, resources = settle(replicas=None)
        with Pool(replicas, resources, progress.note, most=replicas if dry else most, idle=cluster.idle) as pool:
            load = partial(progress.note, "raysmooth: waiting for replicas, which load torch ...")
            identity, pool_up = pool.wait_up() if kept is None else pool.wait_up(load), monotonic()

            def choose(*request: Any) -> ComputeChoice:
                progress.note("raysmooth: trying the networks on a replica for a few seconds ...")
                return cast(ComputeChoice, pool.ask("choose", *request, dry))

            if identity.kind != identity_on(torch.device("cpu")).kind:  # `made_from` is about this machine's CPU
                runs = [replace(run, made_from=None) for run in runs]
            chosen = choose_compute_configs(runs, identity, replicas, choose)
            if not any(run.unsteady for run in runs):
                warn(progress, [one.run.unsteady for one in chosen])
            announce(progress, [one.planned(identity) for one in chosen], dry)
            yield DriverSession(procedure, pool, identity, replicas, chosen, progress, started, pool_up)
