"""The dry run: a run's networks tried for a few seconds, on Ray or, where no cluster is joined, without it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

from raysmooth.actors.compute.compute_config import ComputeChoice
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.drawing.announced_runs import announce, checked_runs, warn
from raysmooth.pipeline.dry_run.estimate import Estimate, finished, guessed, measured
from raysmooth.pipeline.dry_run.trial import Trial
from raysmooth.pipeline.dry_run.trial_process import TrialProcess
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.ray_cluster.ray_address import will_be_local
from raysmooth.pipeline.runs.base_run import AnyProcedure, BaseRun
from raysmooth.pipeline.runs.compute_choice import ChosenRun, choose_compute_configs, settled_request
from raysmooth.pipeline.runs.network_facts import refuse_networks, surely_on_cpu
from raysmooth.pipeline.runs.prepare import RunData
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.settings import NoisySettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import count_images

_PATIENCE = 20.0
"""Seconds to wait for further replicas on Ray once one is ready."""


@dataclass(frozen=True)
class _Place:
    """Where the networks of the `chosen` runs are tried: as many as `replicas` of this `identity`. `make_ready` has
    them load what the runs need. `guesses` and `measures` say where a speed is guessed or measured.
    """

    trial: Trial
    identity: ReplicaIdentity
    replicas: int
    chosen: Sequence[ChosenRun]
    make_ready: Callable[[Sequence[Sampling], Sequence[tuple[int, ...]]], None]
    guesses: str
    measures: str


def estimate(procedure: AnyProcedure, settings: NoisySettings, show_progress: bool = True) -> list[Estimate]:
    """What `run_procedure` would cost with these settings, after a few seconds of trying; an estimate for each sigma.
    Nothing is written. Raises RaysmoothError as `run_procedure` does.

    Where a run would start a Ray of its own on this machine's CPU, its replicas are this process and others beside it;
    where it would join a cluster or use GPUs, they are replicas there.
    """
    refuse_networks(settings)
    progress = Progress(show_progress)
    here = surely_on_cpu(settings) and will_be_local(settings.address)
    with _processes(procedure, settings, progress) if here else _on_ray(procedure, settings, progress) as place:
        runs = [one.run for one in place.chosen]
        left = [
            len(run.index_set) - count_images(settings.out, procedure.folder, run_id(run.identity(place.identity)))
            for run in runs
        ]
        guesses = [_guess(place, number) if left[number] else None for number in range(len(runs))]
        tried = [number for number, guess in enumerate(guesses) if left[number] and guess is None]
        place.make_ready([runs[number].sampling() for number in tried], [runs[number].image_shape for number in tried])
        return [
            finished(run)
            if not images
            else guessed(run, images, guess, place.replicas, place.guesses)
            if guess is not None and isinstance(run, Run)
            else measured(place.trial, tried.index(number), run, images, place.measures)
            for number, (run, images, guess) in enumerate(zip(runs, left, guesses, strict=True))
        ]


def _guess(place: _Place, index: int) -> ComputeChoice | None:
    """The guessed speed of a run that takes long to try as it would be computed; None for the others."""
    run, choice = place.chosen[index].run, place.chosen[index].choice
    if not isinstance(run, Run):
        return None
    if choice is None and run.compute is not None:  # as an earlier run, which is not timed
        draws = int(len(run.index_set) * run.draws_per_image / place.replicas)
        choice = place.trial.ask("choose", run.base, run.image_shape, settled_request(run.compute), draws, True)
    return choice if choice is not None and choice.guessed_from is not None else None


@contextmanager
def _on_ray(procedure: AnyProcedure, settings: NoisySettings, progress: Progress) -> Iterator[_Place]:
    from raysmooth.pipeline.drawing.driver import open_driver_session  # it loads torch

    started = monotonic()
    runs = checked_runs(procedure, [settings], progress, dry=True)
    with open_driver_session(procedure, runs, progress, started, dry=True) as session:
        yield _Place(
            session.pool,
            session.identity,
            session.replicas,
            session.chosen,
            lambda samplings, shapes: session.make_ready(samplings, shapes, patience=_PATIENCE),
            "on one replica",
            f"on {counted(session.replicas, 'replica')} at once",
        )


@contextmanager
def _processes(procedure: AnyProcedure, settings: NoisySettings, progress: Progress) -> Iterator[_Place]:
    with ExitStack() as stack:

        def start() -> TrialProcess:
            return stack.enter_context(closing(TrialProcess(threads, settings.verbose)))

        data, threads = RunData.of(settings), settings.cpus_per_replica
        # They load torch while this process does: how many replicas there will be is known only after that.
        fit = (os.cpu_count() or 1) // threads
        others = [start() for _ in range(min(settings.replicas or fit, fit) - 1)]
        runs = checked_runs(procedure, [settings], progress, dry=True, opened=[data])
        from raysmooth.pipeline.dry_run.trial_processes import TrialProcesses

        replicas = _replicas(settings, runs)
        others += [start() for _ in range(len(others), replicas - 1)]
        for surplus in others[replicas - 1 :]:
            surplus.close()
        progress.note(
            f"raysmooth: trying the networks for a few seconds, in {counted(replicas, 'process')} of "
            f"{counted(threads, 'thread')} in place of replicas: Ray is not started ..."
        )
        trial = stack.enter_context(TrialProcesses(others[: replicas - 1], threads))
        identity = trial.identity

        def choose(*request: Any) -> ComputeChoice:
            return cast(ComputeChoice, trial.ask("choose", *request, True))

        chosen = choose_compute_configs(runs, identity, replicas, choose)
        if not any(run.unsteady for run in runs):
            warn(progress, [one.run.unsteady for one in chosen])
        announce(progress, [one.planned(identity) for one in chosen], dry=True)

        def make_ready(samplings: Sequence[Sampling], shapes: Sequence[tuple[int, ...]]) -> None:
            if samplings:
                trial.prepare(samplings, shapes)
            for line in dict.fromkeys(one.describe() for one in chosen):
                progress.note(line)

        each = f"in each of {replicas} processes at once" if replicas > 1 else "in one process"
        yield _Place(trial, identity, replicas, chosen, make_ready, each, each)


def _replicas(settings: NoisySettings, runs: Sequence[BaseRun]) -> int:
    """How many replicas the run would have on a local Ray; as many as fit where more are asked for."""
    from raysmooth.pipeline.pool.replica_resources import settle_replicas
    from raysmooth.pipeline.ray_cluster.cluster import Cluster, local_cpus

    machine = Cluster(local_cpus(), 0, 0, local=True)
    units = sum(run.blocks for run in runs)
    try:
        return settle_replicas(machine, settings.replicas, 0, settings.cpus_per_replica, units)[0]
    except RaysmoothError:
        return settle_replicas(machine, None, 0, settings.cpus_per_replica, units)[0]
