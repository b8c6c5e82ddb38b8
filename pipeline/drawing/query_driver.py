"""The driver of runs whose classifier is a vision API: what the query logs have is counted, and the rest is asked for.

All runs in a folder of results share its query logs, one vocabulary and one budget; those of one API share a pool of
replicas too. Ray is started when the first answer is missing: a run whose answers are all there needs neither Ray nor
the API, its client or a key.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby, islice
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeGuard

import pandas as pd

from raysmooth.actors.apis.apis import is_api, read_api
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.drawing.announced_runs import announce, checked_runs
from raysmooth.pipeline.drawing.base_ledger import BaseLedger
from raysmooth.pipeline.drawing.finished_runs import stored_rows
from raysmooth.pipeline.drawing.ledgers import open_ledgers
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.queries.amounts import in_dollars, queries
from raysmooth.pipeline.queries.budget import Budget
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.logged_answer import BILLIONTHS
from raysmooth.pipeline.queries.query_folder import QUERIES, QueryFolder
from raysmooth.pipeline.queries.query_progress import QueryProgress
from raysmooth.pipeline.runs.apis.api_facts import rate_of
from raysmooth.pipeline.runs.apis.api_run import NO_REPLICA, ApiRun
from raysmooth.pipeline.runs.apis.open_labels import open_vocabulary
from raysmooth.pipeline.runs.base_run import AnyProcedure
from raysmooth.pipeline.runs.compute_choice import ChosenRun
from raysmooth.pipeline.runs.prepare import RunData
from raysmooth.pipeline.runs.settings import NoisySettings, SamplingSettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import count_images
from raysmooth.pipeline.store.writer_process import WriterProcess
from raysmooth.storage.location import located

if TYPE_CHECKING:
    from raysmooth.pipeline.pool.replica_resources import ReplicaResources
    from raysmooth.pipeline.query_pool.query_telemetry import QueryTelemetry


@dataclass(frozen=True)
class AskedRun(ChosenRun):
    """A run of an API, which no replica computes."""

    @property
    def by_timing(self) -> bool:
        return False

    def describe(self) -> str:
        assert isinstance(self.run, ApiRun), self.run
        spec, rule = self.run.spec, self.run.labels.rule
        denoised = "" if spec.denoiser == NO_DENOISER else f" behind {spec.denoiser}"
        asking = "reading the answers of" if self.run.settings.offline else "asking"
        encoding = self.run.queries.facts["encoding"]
        return f"{asking} {self.run.base.classifier}{denoised}: pictures as {encoding}, --label-rule {rule}"

    @property
    def manifest_entry(self) -> dict[str, Any]:
        return {"why": "an API is asked; what stands before it is computed in float32"}


def asks_api(settings: NoisySettings) -> TypeGuard[SamplingSettings]:
    """Whether the classifier of these settings is a vision API."""
    return isinstance(settings, SamplingSettings) and is_api(settings.classifier)


def query_rows(procedure: AnyProcedure, settings: SamplingSettings, show_progress: bool = True) -> pd.DataFrame:
    """The rows of the runs of `run_queries`, as `run_procedure` returns them."""
    return stored_rows(procedure, [settings], run_queries(procedure, [settings], show_progress))


def run_queries(
    procedure: AnyProcedure,
    all_settings: Sequence[SamplingSettings],
    show_progress: bool = True,
    opened: Sequence[RunData] = (),
) -> Sequence[Sequence[str]]:
    """Certify, or predict, all images of `all_settings`, whose classifiers are vision APIs; returns the run ids of each
    of them, one for each sigma. `opened` is the data of the first of the settings, as far as it has been read.

    Raises RaysmoothError for every error that can be found before anything is sent, and later where continuing is
    pointless: the budget is spent, no request can succeed, the model has changed. Answers so far are in the query log,
    and are not paid for again.
    """
    progress = Progress(show_progress)
    refusals = [_refusal(settings) for settings in all_settings]
    for settings, refusal in zip(all_settings, refusals, strict=True):
        if refusal is not None and not (located(settings.out) / QUERIES).is_folder():
            raise refusal  # nothing is logged there, so that all has to be asked for
    runs = [run for run in checked_runs(procedure, all_settings, progress, opened=opened) if isinstance(run, ApiRun)]
    ids = [run_id(run.identity(NO_REPLICA)) for run in runs]
    if all(_is_finished(procedure, run, own) for run, own in zip(runs, ids, strict=True)):
        _conclude(runs, progress)
    else:
        for _, group in groupby(sorted(runs, key=_asks), _asks):
            _draw([*group], progress)
    remaining = iter(ids)
    return [list(islice(remaining, len(settings.sigma))) for settings in all_settings]


def _refusal(settings: SamplingSettings) -> RaysmoothError | None:
    """Why the API cannot be asked from here, as far as that is known without asking."""
    if settings.offline:
        return None
    _, entry, options = read_api(settings.classifier)
    try:
        entry.check(options, settings.endpoint)
    except RaysmoothError as refusal:
        return refusal
    return None


def _asks(run: ApiRun) -> tuple[Any, ...]:
    """Equal for runs that share a pool: one API, asked with the same limits, into the same folder of results."""
    settings = run.settings
    limits = [settings.rate, settings.budget, settings.max_queries, settings.price_per_1000, settings.concurrency]
    limits += [settings.offline, settings.timeout, settings.patience, settings.replicas, settings.address]
    return str(settings.out), run.spec.api, str(run.spec.endpoint), str(limits)


def _is_finished(procedure: AnyProcedure, run: ApiRun, own: str) -> bool:
    return count_images(run.settings.out, procedure.folder, own) >= len(run.index_set)


def _conclude(runs: Sequence[ApiRun], progress: Progress) -> None:
    """Check the files of finished runs as if they were resumed."""
    chosen = [AskedRun(run, None) for run in runs]
    with ExitStack() as stores:
        _, ledgers = open_ledgers(chosen, NO_REPLICA, stores, lambda _: None)
        announce(progress, [one.planned(NO_REPLICA) for one in chosen], dry=False)
        progress.note("raysmooth: nothing to ask, so neither Ray nor the API was needed")
        for ledger in ledgers:
            ledger.conclude()


def _draw(runs: Sequence[ApiRun], progress: Progress) -> None:
    """Draw what is missing of runs that share a pool."""
    started = monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(QueryFolder(runs[0].settings.out))
        runs = _with_logs(runs, folder)
        chosen = [AskedRun(run, None) for run in runs]
        announce(progress, [one.planned(NO_REPLICA) for one in chosen], dry=False)
        rate = rate_of(runs[0].settings)
        _, ledgers = open_ledgers(chosen, NO_REPLICA, stack, lambda _: rate)
        for line in dict.fromkeys(one.describe() for one in chosen):
            progress.note(line)
        _ask(folder, ledgers, rate, progress, started)


def _with_logs(runs: Sequence[ApiRun], folder: QueryFolder) -> list[ApiRun]:
    """The runs with the labels that all runs of the folder share, and with the answers to images themselves."""
    open_labels = open_vocabulary(runs[0].settings.out, folder.verify)
    found = []
    for run in runs:
        run = replace(run, labelling=run.labels.with_open(open_labels))
        if run.references is not None:
            run = replace(run, reference_answer=folder.log(run.references).answer)
        found.append(run)
    return found


def _ask(
    folder: QueryFolder, ledgers: Sequence[BaseLedger], rate: float | None, progress: Progress, started: float
) -> None:
    # These load Ray, though they do not start it.
    from raysmooth.pipeline.drawing.draw_all import draw_all
    from raysmooth.pipeline.drawing.heartbeat import Heartbeat
    from raysmooth.pipeline.query_pool.query_pool import QueryPool
    from raysmooth.pipeline.query_pool.query_task import QueryTask

    runs = [ledger.run for ledger in ledgers if isinstance(ledger.run, ApiRun)]
    tasks = [
        QueryTask(
            run.spec,
            folder.log(run.queries),
            None if run.references is None else folder.log(run.references),
            run.labelling.draw_codes,
            run.num_labels,
            run.settings.block_size,
        )
        for run in runs
    ]
    settings = runs[0].settings
    spent = folder.charges()
    budget = Budget(spent, runs[0].price, settings.budget, settings.max_queries)
    with progress, ExitStack() as ray:
        start = _start(runs, progress, ray)
        pool = QueryPool(tasks, start, rate, budget, progress.note, settings.offline, lambda: _images_left(ledgers))
        record = _recorder(folder, budget, pool.telemetry)
        try:
            with pool, Heartbeat(pool.telemetry, ledgers, record):
                draw_all(pool, ledgers, progress, started)
        finally:  # also what was in flight, which the pool has waited for
            record()
            for line in _spendings(folder, budget, pool.telemetry, spent):
                progress.note(line)


def _images_left(ledgers: Sequence[BaseLedger]) -> int:
    return sum(ledger.images_left - ledger.finished for ledger in ledgers)


def _start(
    runs: Sequence[ApiRun], progress: Progress, stack: ExitStack
) -> "Callable[[], tuple[int, ReplicaResources]]":
    """Connects to Ray, until `stack` is left, and says how many replicas to start; raises RaysmoothError where the API
    cannot be asked from here.
    """
    settings = runs[0].settings

    def start() -> "tuple[int, ReplicaResources]":
        if (refusal := _refusal(settings)) is not None:
            raise refusal
        from raysmooth.pipeline.pool.replica_resources import settle_replicas
        from raysmooth.pipeline.ray_cluster.cluster import connected

        progress.note("raysmooth: waiting for Ray and the replicas that ask ...")
        cluster = stack.enter_context(connected(settings.address, settings.verbose, progress.note))
        denoises = any(run.spec.denoiser != NO_DENOISER for run in runs)
        # One asks as fast as any API answers; more of them denoise faster. Without a denoiser a GPU is of no use.
        replicas = settings.replicas if denoises or settings.replicas is not None else 1
        gpus = settings.gpus_per_replica if denoises or settings.gpus_per_replica is not None else 0.0
        units = sum(run.blocks for run in runs)
        number, _, resources = settle_replicas(cluster, replicas, gpus, settings.cpus_per_replica, units)
        return number, resources

    return start


def _recorder(folder: QueryFolder, budget: Budget, telemetry: "QueryTelemetry") -> Callable[[], None]:
    """Writes what readers elsewhere may know of the queries."""
    writer = WriterProcess.here()

    def record() -> None:
        spent = budget.spent
        folder.write_progress(
            QueryProgress(
                spent.dollars,
                budget.dollars_left,
                spent.queries,
                spent.unanswered,
                budget.left,
                telemetry.throttled,
                telemetry.bucket.rate,
                budget.price / BILLIONTHS if budget.price else None,
                writer,
            )
        )

    return record


def _spendings(folder: QueryFolder, budget: Budget, telemetry: "QueryTelemetry", before: Charges) -> list[str]:
    """What this session has sent and paid, what all sessions have, and where the answers are."""
    now = budget.spent
    sent, cost = now.queries - before.queries, now.dollars - before.dollars
    lost = now.unanswered - before.unanswered
    throttled = telemetry.throttled
    parts = [
        f"{sent:,} sent" + f" for {in_dollars(cost)}" * bool(budget.price),
        f"{lost:,} of them without an answer, perhaps paid for" * bool(lost),
        f"{counted(throttled, 'request')} throttled" * bool(throttled),
    ]
    line = f"queries: {', '.join(filter(None, parts))}"
    if before.queries:
        line += f"; in all sessions {now.queries:,}" + f" for {in_dollars(now.dollars)}" * bool(now.cost)
    left = [
        None if budget.dollars_left is None else in_dollars(budget.dollars_left, is_left=True),
        None if budget.left is None else queries(budget.left),
    ]
    if known := [one for one in left if one is not None]:
        line += f"; left of the budget: {', '.join(known)}"
    return [line, f"answers: {folder.home}"]
