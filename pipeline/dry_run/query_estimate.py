"""What runs of vision APIs will cost, before anything is sent: queries, dollars, and time at the rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import image_digest
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.drawing.announced_runs import announce, checked_runs
from raysmooth.pipeline.drawing.query_driver import AskedRun
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.queries.amounts import in_dollars, queries
from raysmooth.pipeline.queries.budget import Budget
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.query_folder import all_charges, logged_answers
from raysmooth.pipeline.queries.query_log import LoggedAnswers
from raysmooth.pipeline.runs.apis.api_facts import rate_of
from raysmooth.pipeline.runs.apis.api_run import NO_REPLICA, ApiRun
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import count_images, read_rows


@dataclass(frozen=True)
class QueryEstimate:
    """One run. `of_images`: the queries to send for each unfinished image, in the order of drawing; `answered`: those
    that its unfinished images need and the query log has, or an earlier run of the same command will ask for. Both are
    expectations where images stop early (`is_exact` is False).
    """

    run: ApiRun
    of_images: tuple[float, ...]
    answered: float
    rate: float | None

    @property
    def is_exact(self) -> bool:
        return self.run.is_fixed

    @property
    def images(self) -> int:
        return len(self.of_images)

    @property
    def to_send(self) -> float:
        return sum(self.of_images)

    @property
    def dollars(self) -> float | None:
        """None if the price is unknown."""
        return None if self.run.price is None else self.to_send * self.run.price

    @property
    def seconds(self) -> float | None:
        """At the rate; None if there is no limit to it."""
        return None if self.rate is None else self.to_send / self.rate


@dataclass(frozen=True)
class QueryPlan:
    """All runs of a command, in the order in which they are drawn. `left`: queries that the budget has room for, None
    without a limit.
    """

    estimates: tuple[QueryEstimate, ...]
    left: int | None

    @property
    def to_send(self) -> float:
        return sum(one.to_send for one in self.estimates)

    @property
    def whole_images(self) -> int:
        """The unfinished images that the budget reaches, each with all its queries."""
        room, images = float("inf") if self.left is None else self.left, 0
        for sent in (own for one in self.estimates for own in one.of_images):
            room -= sent
            if room < 0:
                break
            images += 1
        return images

    def refuse_over_budget(self) -> None:
        """Raises RaysmoothError where the budget does not cover all of it, and says how far it reaches."""
        if self.left is None or self.to_send <= self.left:
            return
        settings, price = self.estimates[0].run.settings, self.estimates[0].run.price
        images = sum(one.images for one in self.estimates)
        cost = f" for {in_dollars(self.to_send * price)}" if price else ""
        flag, least = "--max-queries", f"{ceil(self.to_send) - self.left + (settings.max_queries or 0)}"
        if settings.budget is not None and price:
            flag = "--budget"
            least = in_dollars(settings.budget + (self.to_send - self.left) * price).replace("$", "").replace(",", "")
        raise RaysmoothError(
            f"the budget has room for {queries(self.left)}, and {queries(ceil(self.to_send))}{cost} are to be sent: it "
            f"reaches {counted(self.whole_images, 'whole image')} of {images:,}; write {flag} {least} or more, or "
            "--max with fewer images"
        )


def estimate_queries(procedure: Procedure, settings: SamplingSettings, show_progress: bool = True) -> QueryPlan:
    """What `run_queries` would send with these settings, an estimate for each sigma; nothing is sent or written. Raises
    RaysmoothError as it does, but not where the API's client or key is missing.
    """
    progress = Progress(show_progress)
    runs = [run for run in checked_runs(procedure, [settings], progress, dry=True) if isinstance(run, ApiRun)]
    announce(progress, [AskedRun(run, None).planned(NO_REPLICA) for run in runs], dry=True)
    logs, planned = _Logs(settings.out), dict[tuple[str, str, Role], int]()
    rate = rate_of(settings)
    estimates = tuple(_estimate(procedure, run, logs, planned, rate) for run in runs)
    budget = Budget(all_charges(settings.out), runs[0].price, settings.budget, settings.max_queries)
    return QueryPlan(estimates, budget.left)


class _Logs:
    """The query logs below `out`, each read once."""

    def __init__(self, out: str) -> None:
        self._out, self._read = out, dict[str, LoggedAnswers]()

    def of(self, identity: QueryIdentity) -> LoggedAnswers:
        if identity.id not in self._read:
            self._read[identity.id] = logged_answers(self._out, identity)
        return self._read[identity.id]


def _estimate(
    procedure: Procedure, run: ApiRun, logs: _Logs, planned: dict[tuple[str, str, Role], int], rate: float | None
) -> QueryEstimate:
    """The estimate of a run. `planned`: how many draws of an image and role the runs before it have or ask for, by
    query identity; its own are entered.
    """
    of_images, answered = [], 0.0
    for digest in _unfinished(procedure, run):
        needed = missing = 0.0
        for identity, role, draws in _needs(run):
            before = planned.get((identity.id, digest, role), 0)
            needed += draws
            if run.is_fixed or role is Role.REFERENCE:
                missing += len(logs.of(identity).missing(digest, role, range(before, int(draws))))
            else:
                missing += max(0.0, draws - len(logs.of(identity).answers(digest, role)) - before)
            planned[identity.id, digest, role] = max(before, int(draws))
        of_images.append(missing)
        answered += needed - missing
    return QueryEstimate(run, tuple(of_images), answered, rate)


def _needs(run: ApiRun) -> Iterator[tuple[QueryIdentity, Role, float]]:
    """The draws of an image by the log that has them: exact, or from experience if images stop early."""
    if run.references is not None:
        yield run.references, Role.REFERENCE, 1
    first = run.rule.first
    selection = first.get(Role.SELECTION, 0)
    if selection:
        yield run.queries, Role.SELECTION, selection
    if (estimation := run.draws_per_image - selection) > 0:
        yield run.queries, Role.ESTIMATION, estimation


def _unfinished(procedure: Procedure, run: ApiRun) -> Iterator[str]:
    """The digests of the images that have no row yet and can be drawn."""
    out, own = run.settings.out, run_id(run.identity(NO_REPLICA))
    done = set(read_rows(out, procedure.folder, own)["image_id"]) if count_images(out, procedure.folder, own) else set()
    for image_id in run.index_set.ids:
        if image_id in done:
            continue
        try:
            example = run.images.read(image_id)
        except UnreadableImage:
            continue
        if run.problem_with(example) is None:
            yield image_digest(example.image)
