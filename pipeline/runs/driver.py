"""The driver: prepares runs, feeds their units to the pool, and sees every image through to its row on disk."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from time import monotonic

import pandas as pd
from rich.progress import TaskID

from raysmooth.actors.replica.replica import Sampling
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.cluster import connected, settle_replicas
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.runs.compute_choice import Chosen, choose_compute_configs
from raysmooth.pipeline.runs.estimate import Estimate, estimate_runs
from raysmooth.pipeline.runs.heartbeat import Heartbeat
from raysmooth.pipeline.runs.ledger import Ledger
from raysmooth.pipeline.runs.noise_mismatch import describe
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.progress_bars import Progress
from raysmooth.pipeline.runs.run import prepare, run_id
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.parts import read_rows, refuse_foreign_parts
from raysmooth.pipeline.store.run_store import RunStore, refuse_unwritable
from raysmooth.storage.store_urls import is_url

_DRY_PATIENCE = 20.0
"""Seconds that a dry run waits for further replicas once one is ready."""


def carry_out(procedure: Procedure, jobs: Sequence[SamplingSettings], show_progress: bool = True) -> pd.DataFrame:
    """Certify, or predict, all images of all `jobs` on one pool of replicas, and return their rows.

    Each sigma of each job is a run; finished images of earlier sessions are kept, and only what is missing is drawn.
    The pool (replicas, their resources, the cluster's address) is that of the first job; `out` may differ.

    Weights whose card tells of other noise than a run draws are warned of once, before Ray starts: among the notes on
    standard error, as "raysmooth: warning: ...", or as a Python warning where `show_progress` is off and notes are
    not shown, so that a notebook sees it too and can filter it like any other. The runs' manifests keep it.

    Returns one row an image, columns as in `<out>/<procedure's folder>` plus `run_id`, in the order of runs and images.
    Raises RaysmoothError before Ray starts for whatever can be known by then, and afterwards where going on is pointless; what
    was finished is on disk in either case, also on KeyboardInterrupt.
    """
    ids = run_jobs(procedure, jobs, show_progress)
    places = dict.fromkeys((job.out, run_id) for job, own in zip(jobs, ids, strict=True) for run_id in own)
    return pd.concat([read_rows(out, procedure.folder, run_id) for out, run_id in places], ignore_index=True)


def run_jobs(
    procedure: Procedure, jobs: Sequence[SamplingSettings], show_progress: bool = True
) -> Sequence[Sequence[str]]:
    """`carry_out`, but for the rows: the run ids of each job, one a sigma. Jobs may ask for the same run."""
    progress = Progress(show_progress)
    with _opened(procedure, jobs, progress) as opened, ExitStack() as stores:
        ledgers: dict[tuple[str, str], Ledger] = {}
        ids = []
        for number, choice in enumerate(opened.chosen):
            manifest = choice.run.manifest(opened.replica, choice.compute)
            ids.append(manifest["run_id"])
            place = (choice.run.settings.out, ids[-1])
            if place in ledgers:
                continue
            store = stores.enter_context(RunStore(place[0], procedure.folder, procedure.schema, manifest))
            run = replace(choice.run, objective=store.manifest.get("objective"))
            ledgers[place] = Ledger(len(ledgers), run, store, opened.draws_per_second(number))
        busy = list(ledgers.values())
        needed = busy if any(ledger.images_left for ledger in busy) else []
        with Heartbeat(opened.pool.telemetry, busy):
            opened.make_ready([ledger.sampling for ledger in needed], [ledger.run.image_shape for ledger in needed])
            draw_all(opened.pool, busy, progress, opened.began)
    own = iter(ids)
    return [list(islice(own, count)) for count in opened.runs_of]


def estimate(procedure: Procedure, settings: SamplingSettings, show_progress: bool = True) -> list[Estimate]:
    """What `carry_out` would cost with these settings, after a few seconds of trying; an estimate for each sigma.
    Nothing is written. Raises RaysmoothError as `carry_out` does.
    """
    with _opened(procedure, [settings], Progress(show_progress), dry=True) as opened:
        runs = [choice.run for choice in opened.chosen]
        left = [
            len(run.index_set) - len(read_rows(settings.out, procedure.folder, run_id(run.identity(opened.replica))))
            for run in runs
        ]
        sampled = runs if any(left) else []
        shapes = [run.image_shape for run in sampled]
        opened.make_ready([run.sampling() for run in sampled], shapes, patience=_DRY_PATIENCE)
        return estimate_runs(opened.pool, runs, left)


@dataclass
class _Opened:
    """Jobs that have been checked, their replicas, and how these will compute; `runs_of`: how many runs each has."""

    procedure: Procedure
    pool: Pool
    replica: ReplicaIdentity
    replicas: int
    chosen: list[Chosen]
    progress: Progress
    began: float
    up: float
    runs_of: Sequence[int]

    def draws_per_second(self, index: int) -> float | None:
        """What all replicas are expected to make of a run, where that was tried."""
        choice = self.chosen[index].choice
        return choice.draws_per_second * self.replicas if choice is not None else None

    def make_ready(
        self, samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]], patience: float = 0.0
    ) -> None:
        """Have the replicas load and compile what `samplings`, one a run, need for images of `shapes` (nothing, if
        there are none), until one can draw, and for `patience` seconds more until all can.
        """
        begun = monotonic()
        if samplings:
            self.pool.prepare(samplings, shapes)
            self.pool.wait_prepared(patience)
        runs = f"{len(self.chosen)} run{'s' * (len(self.chosen) > 1)}"
        replicas = f"{self.replicas} replica{'s' * (self.replicas > 1)}"
        self.progress.note(f"{self.procedure.name}: {runs} on {replicas} on {self.replica.device}")
        for line in dict.fromkeys(choice.describe() for choice in self.chosen):
            self.progress.note(line)
        self.progress.note(
            f"ready after {monotonic() - self.began:.1f} s: settings and Ray {self.up - self.began:.1f}, "
            f"choosing how to compute {begun - self.up:.1f}, loading and compiling {monotonic() - begun:.1f}"
        )


@contextmanager
def _opened(
    procedure: Procedure, jobs: Sequence[SamplingSettings], progress: Progress, dry: bool = False
) -> Iterator[_Opened]:
    """Everything up to where a first run could be written; the replicas are gone when it is left. In a `dry` run
    nothing will be written, and where more replicas are asked for than there is room for, there are as many as fit.
    """
    settings, began = jobs[0], monotonic()
    for out in dict.fromkeys(job.out for job in jobs if is_url(job.out)):  # a key that is wrong is soon told
        if not dry:
            refuse_unwritable(out)
    prepared = [prepare(procedure, job) for job in jobs]
    runs = [run for own in prepared for run in own]
    for out in {run.settings.out for run in runs}:
        if not (dry or is_url(out)):
            refuse_unwritable(out)
        refuse_foreign_parts(out, procedure.folder)
    for line in describe(run.mismatch for run in runs):
        if progress.shown:
            progress.note(f"raysmooth: warning: {line}")
        else:
            warnings.warn(line, stacklevel=7)  # 7: whoever called raysmooth.certify
    with progress, connected(settings.address, settings.verbose) as cluster:
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
        with Pool(replicas, resources, progress.note, most=replicas if dry else most) as pool:
            replica, up = pool.wait_up(), monotonic()
            chosen = choose_compute_configs(runs, replica, replicas, partial(pool.ask, "choose"))
            yield _Opened(
                procedure, pool, replica, replicas, chosen, progress, began, up, [len(own) for own in prepared]
            )


def draw_all(pool: Pool, ledgers: Sequence[Ledger], progress: Progress, began: float) -> None:
    """Draw what `ledgers` order until they want no more; `began` is when the command did, for the notes."""
    bars = [_add_bar(progress, ledger) for ledger in ledgers]
    started, first = monotonic(), True
    for outcome in pool.draw(
        lambda: next((order for ledger in ledgers if (order := ledger.next_order()) is not None), None),
        lambda unit: ledgers[unit.run].wants(unit),
        lambda: sum(ledger.units_left for ledger in ledgers),
    ):
        unit = outcome.request.unit
        ledger = ledgers[unit.run]
        finished = ledger.finished
        if outcome.drawn is not None:
            pool.telemetry.unit_done(unit.run, outcome.drawn.seconds)
        if (shrunk := ledger.take(outcome)) is not None:
            progress.note(shrunk)
        progress.advance(bars[ledger.index], ledger.finished - finished, ledger.drawn, ledger.expected_draws())
        if first and ledger.finished:
            first = False
            progress.note(f"first image finished {monotonic() - began:.1f} s after the start")
    images, draws = sum(ledger.finished for ledger in ledgers), sum(ledger.drawn for ledger in ledgers)
    seconds = monotonic() - started
    rates = f": {images / seconds:,.2f} images/s, {draws / seconds:,.0f} draws/s" if draws else ""
    progress.note(f"drawing took {seconds:.1f} s for {images:,} images and {draws:,} draws{rates}")
    if pool.telemetry.drawn_twice:
        progress.note(
            f"{pool.telemetry.drawn_twice} work units were drawn twice, for replicas that did not answer in time"
        )
    for ledger in ledgers:
        ledger.conclude()


def _add_bar(progress: Progress, ledger: Ledger) -> TaskID:
    run = ledger.run
    images = len(run.index_set)
    label = f"{run.objective or run.base.denoiser}, sigma {run.noise.scale:g}"
    expected = ledger.expected_draws()
    return progress.add(label, images, images - ledger.images_left, expected, ledger.draws_per_second)
