"""The driver: prepares runs, feeds their units to the pool, and sees every image through to its row on disk."""

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from time import monotonic

import pandas as pd
from rich.progress import TaskID

from pipeline.cluster import connected, settle_replicas
from pipeline.ledger import Ledger
from pipeline.parts import read_rows, refuse_foreign_parts
from pipeline.path_choice import choose_paths
from pipeline.pool import Pool
from pipeline.procedures import Procedure
from pipeline.progress import Progress
from pipeline.run import prepare
from pipeline.settings import SamplingSettings
from pipeline.store import RunStore, refuse_unwritable
from pipeline.trained_noise import describe
from pipeline.wording import PLAIN


def carry_out(procedure: Procedure, jobs: Sequence[SamplingSettings], show_progress: bool = True) -> pd.DataFrame:
    """Certify, or predict, all images of all `jobs` on one pool of replicas, and return their rows.

    Each sigma of each job is a run; finished images of earlier sessions are kept, and only what is missing is drawn.
    The pool (replicas, their resources, the cluster's address) is that of the first job; `out` may differ.

    Weights whose card tells of other noise than a run draws are warned of once, before Ray starts: among the notes on
    standard error, as "raysmooth: warning: ...", or as a Python warning where `show_progress` is off and notes are
    not shown, so that a notebook sees it too and can filter it like any other. The runs' manifests keep it.

    Returns one row an image, columns as in `<out>/<procedure's folder>` plus `run_id`, in the order of runs and images.
    Raises Refusal before Ray starts for whatever can be known by then, and afterwards where going on is pointless; what
    was finished is on disk in either case, also on KeyboardInterrupt.
    """
    settings = jobs[0]
    began = monotonic()
    runs = [run for job in jobs for run in prepare(procedure, job)]
    for out in {run.settings.out for run in runs}:
        refuse_unwritable(out)
        refuse_foreign_parts(out, procedure.folder)
    progress = Progress(show_progress)
    for line in describe(run.mismatch for run in runs):
        if show_progress:
            progress.note(f"raysmooth: warning: {line}")
        else:
            warnings.warn(line, stacklevel=4)  # 4: whoever called raysmooth.certify
    with progress, connected(settings.address, settings.verbose) as cluster:
        cells = sum(run.cells for run in runs)
        replicas, resources = settle_replicas(
            cluster, settings.replicas, settings.gpus_per_replica, settings.cpus_per_replica, cells
        )
        with Pool(replicas, resources, progress.note) as pool, ExitStack() as stores:
            replica = pool.wait_up()
            up = monotonic()
            ledgers = []
            chosen = choose_paths(runs, replica, replicas, partial(pool.ask, "choose"))
            for index, choice in enumerate(chosen):
                manifest = choice.run.manifest(replica, choice.compute)
                store = RunStore(choice.run.settings.out, procedure.folder, procedure.schema, manifest)
                run = replace(choice.run, objective=store.manifest.get("objective"))
                ledgers.append(Ledger(index, run, stores.enter_context(store)))
            begun = monotonic()
            if any(ledger.images_left for ledger in ledgers):
                pool.prepare([ledger.sampling for ledger in ledgers], [ledger.run.image_shape for ledger in ledgers])
                pool.wait_prepared()
            kinds = f"{replicas} replica{'s' * (replicas > 1)} on {replica.device}"
            progress.note(f"{procedure.name}: {len(runs)} run{'s' * (len(runs) > 1)} on {kinds}")
            for path in dict.fromkeys(choice.run.path for choice in chosen):
                progress.note(f"computing {path}")
            progress.note(
                f"ready after {monotonic() - began:.1f} s: settings and Ray {up - began:.1f}, "
                f"choosing how to compute {begun - up:.1f}, loading and compiling {monotonic() - begun:.1f}"
            )
            draw_all(pool, ledgers, progress, began)
            ids = [ledger.run_id for ledger in ledgers]
    return pd.concat(
        [read_rows(run.settings.out, procedure.folder, run_id) for run, run_id in zip(runs, ids, strict=True)],
        ignore_index=True,
    )


def draw_all(pool: Pool, ledgers: Sequence[Ledger], progress: Progress, began: float) -> None:
    """Draw what `ledgers` order until they want no more; `began` is when the command did, for the notes."""
    bars = [_add_bar(progress, ledger) for ledger in ledgers]
    started, draws, first = monotonic(), 0, True
    for outcome in pool.draw(
        lambda: next((order for ledger in ledgers if (order := ledger.next_order()) is not None), None),
        lambda unit: ledgers[unit.run].wants(unit),
    ):
        unit = outcome.order.unit
        ledger = ledgers[unit.run]
        finished = ledger.finished
        if (shrunk := ledger.take(outcome)) is not None:
            progress.note(shrunk)
        draws += unit.draws
        progress.advance(bars[ledger.index], ledger.finished - finished, ledger.drawn, ledger.expected_draws())
        if first and ledger.finished:
            first = False
            progress.note(f"first image finished {monotonic() - began:.1f} s after the start")
    images, seconds = sum(ledger.finished for ledger in ledgers), monotonic() - started
    rates = f": {images / seconds:,.2f} images/s, {draws / seconds:,.0f} draws/s" if draws else ""
    progress.note(f"drawing took {seconds:.1f} s for {images:,} images and {draws:,} draws{rates}")
    for ledger in ledgers:
        ledger.conclude()


def _add_bar(progress: Progress, ledger: Ledger) -> TaskID:
    run = ledger.run
    what = run.base.denoiser if run.objective is None else run.objective
    images = len(run.index_set)
    label = f"{what if what not in PLAIN else 'no denoiser'}, sigma {run.noise.scale:g}"
    return progress.add(label, images, images - ledger.images_left, ledger.expected_draws())
