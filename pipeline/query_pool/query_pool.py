"""The query pool: asks an API for the draws that the query logs lack, and gives counts in the order of the requests.

Every answer is paid for: nothing is sent twice to save time, and nothing is sent before the budget holds the money for
it and the log says so on the disk. An answer counts once it is on the disk too.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.queries.denoising import TOGETHER
from raysmooth.actors.queries.events import Answered, Event, Failed, GivenUp, PermitWanted, ThrottledOnce
from raysmooth.actors.queries.query_replica import QueryReplica
from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.backlog import NextRequest
from raysmooth.pipeline.pool.failures import reason_of
from raysmooth.pipeline.pool.image_transfer import ImageTransfer
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.queries.amounts import queries
from raysmooth.pipeline.queries.budget import Budget
from raysmooth.pipeline.queries.logged_answer import BILLIONTHS
from raysmooth.pipeline.query_pool.asking_replicas import AskingCall, AskingReplica, AskingReplicas
from raysmooth.pipeline.query_pool.endings import SPENT, not_logged, stopped
from raysmooth.pipeline.query_pool.model_versions import ModelVersions
from raysmooth.pipeline.query_pool.open_units import OpenDraw, OpenUnits
from raysmooth.pipeline.query_pool.purchases import COMMIT_SECONDS, Purchases
from raysmooth.pipeline.query_pool.query_task import QueryTask
from raysmooth.pipeline.query_pool.query_telemetry import QueryTelemetry
from raysmooth.pipeline.ray_cluster.ray_watch import head_listens

AHEAD = 512
"""Draws of units that are open at a time, if the replicas need no more. A constant, as the order of requests, and so
the codes of an open vocabulary, follow from it."""

CHECK_SECONDS = 1.0
"""How often the pool looks after its replicas."""

ARRIVED_SECONDS = 5.0
"""How long an event of a dead replica may take that is large, and so was left on its machine."""

DRAIN_SECONDS = 5.0
"""Beside the timeout of a request, how long the end waits for answers that are paid for."""

MISSING_SECONDS = 10.0
"""How long missing answers are counted, for a refusal."""

Result = TypeVar("Result")


class QueryPool:
    """Draws the units of the runs `tasks`. `start` is called when the first draw is missing from the logs, and says how
    many replicas to start, and their resources. `rate`: pictures a second of all replicas together, None for no limit.
    `note` is called with one-line messages for the user. `offline`: nothing is sent, and Ray is not used. `images_left`
    says how many images have no row yet, for refusals. `actor`: the class of the replicas. A context: leaving it waits
    for the answers to what is in flight, and ends the replicas.
    """

    def __init__(
        self,
        tasks: Sequence[QueryTask],
        start: Callable[[], tuple[int, ReplicaResources]],
        rate: float | None,
        budget: Budget,
        note: Callable[[str], None],
        offline: bool = False,
        images_left: Callable[[], int] | None = None,
        actor: type[QueryReplica] = QueryReplica,
    ) -> None:
        self.telemetry = QueryTelemetry(rate)
        self._note, self._offline, self._tasks, self._images_left = note, offline, tasks, images_left
        self._replicas = AskingReplicas(start, [task.spec for task in tasks], rate, note, actor)
        self._units, self._purchases = OpenUnits(tasks), Purchases(budget)
        self._versions, self._images = ModelVersions(), ImageTransfer()
        self._ending: str | None = None
        self._permits: list[tuple[AskingReplica, int, Any]] = []
        self._thread, self._hurried = ThreadPoolExecutor(1, "raysmooth: queries"), False
        self._checked, self._before = monotonic(), budget.spent
        concurrency = max(task.spec.concurrency for task in tasks)
        denoised = any(task.spec.denoiser != NO_DENOISER for task in tasks)
        # A kill loses what a replica has been given: twice what it sends at once, so that it never waits for more.
        self._most = max(2 * concurrency, 2 * TOGETHER) if denoised else 2 * concurrency
        self._least = TOGETHER if denoised else max(1, self._most // 4)
        self._drain_seconds = DRAIN_SECONDS + max(task.spec.timeout for task in tasks)

    def draw(
        self,
        next_request: NextRequest,
        wanted: Callable[[WorkUnit], bool],
        units_left: Callable[[], int] | None = None,
    ) -> Iterator[UnitResult]:
        """Draw the units of `next_request` and yield their results in the order of the requests. It is called until
        enough is open, and after each result; None means no unit is available now, and the end once all results are in.
        A unit that is not `wanted` any more is dropped without a result.

        Raises RaysmoothError, once all that was in flight is answered, if the budget is spent, an answer does not come,
        the model's version changes, or no request can succeed.
        """
        self._versions.check(self._tasks)
        while True:
            self._open(next_request)
            if self._offline:
                yield from self._deliver(next_request, wanted)
                if not len(self._units):
                    return
                raise self._missing(next_request)
            if self._units.waiting and self._ending is None:
                self._replicas.begin()  # here: only a main thread may join Ray and watch it
            self._apart(self._hand_out)
            yield from self._deliver(next_request, wanted)
            self._publish()
            if not len(self._units) and not self._in_flight:
                return
            if self._ending is not None and not self._in_flight:
                raise self._stopped()
            self._apart(self._wait)

    def close(self) -> None:
        """End the replicas, after what is in flight is answered, or its time is over."""
        try:
            if self._apart(lambda: self._in_flight) and head_listens():
                self._apart(self._drain)
        finally:
            self._hurried = True
            self._thread.shutdown()
            self._replicas.close()

    def __enter__(self) -> "QueryPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, RaysmoothError | KeyboardInterrupt | SystemExit):
            self.close()
            return
        with suppress(Exception):  # the error that ends the run is the one to be seen
            self.close()

    def _apart(self, act: Callable[[], Result]) -> Result:
        """`act()`, in another thread than the one that Ctrl-C interrupts: an answer that has arrived is logged."""
        return self._thread.submit(act).result()

    @property
    def _in_flight(self) -> int:
        return sum(replica.held for replica in self._replicas)

    def _open(self, next_request: NextRequest) -> None:
        ahead = max(AHEAD, 2 * self._most * len(list(self._replicas)))
        while self._ending is None and (self._units.draws < ahead or len(self._units) < 2):
            request = next_request()
            if request is None:
                return
            self._units.open(request)

    def _deliver(self, next_request: NextRequest, wanted: Callable[[WorkUnit], bool]) -> Iterator[UnitResult]:
        """The results that are due. Requests are asked for between them: their order depends on results alone."""
        for unit in self._units.complete():
            if wanted(unit.unit):
                yield unit.result()
                self._units.drop_unwanted(wanted)
            self._open(next_request)

    def _hand_out(self) -> None:
        """Give waiting draws to replicas that have room, and the permits that were waited for, after one commit."""
        calls: list[tuple[AskingReplica, list[OpenDraw]]] = []
        while self._ending is None and self._units.waiting:
            replica = min(self._replicas.ready, key=lambda one: one.held + given(calls, one), default=None)
            room = self._most - replica.held - given(calls, replica) if replica is not None else 0
            if replica is None or room < self._least:
                break
            draws = self._units.take(min(room, TOGETHER))
            granted = self._purchases.intend(draws)
            if granted < len(draws):
                self._units.put_back(draws[granted:])
                self._ending = SPENT
            if granted:
                calls.append((replica, draws[:granted]))
        if calls or self._permits or self._purchases.is_due or (self._purchases.unsaved and not self._in_flight):
            self._commit()
        for replica, draws in calls:
            first = draws[0]
            image = self._images.packed((first.run, first.image_id), first.image)
            events = replica.handle.ask.remote(first.run, image, [draw.key for draw in draws])
            replica.calls.append(AskingCall(events, {draw.key: draw for draw in draws}))

    def _commit(self) -> None:
        """Answers so far count, and permits are given."""
        permits, self._permits = self._permits, []
        for draw in self._purchases.commit():
            self._units.answered(draw)
        for replica, run, key in permits:
            replica.handle.permit.remote(run, key, True)

    def _wait(self) -> None:
        """Take the events that come within a short time, and look after the replicas."""
        streams = {call.events: (replica, call) for replica in self._replicas for call in replica.calls}
        asked = {replica.asked: replica for replica in self._replicas if replica.asked is not None}
        pending = [*streams, *asked]
        if pending:
            ready, _ = ray.wait(pending, num_returns=1, timeout=COMMIT_SECONDS if streams else CHECK_SECONDS)
            if ready and len(pending) > 1:  # and all others that have something by now
                ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        else:
            sleep(COMMIT_SECONDS)
            ready = []
        for one in ready:
            if one in streams:
                replica, call = streams[one]
                if call in replica.calls:
                    self._take(replica, call)
            elif asked[one].asked is one:
                self._prepared(asked[one])
        if monotonic() - self._checked > CHECK_SECONDS:
            self._checked = monotonic()
            if (silent := self._replicas.silent()) is not None:
                self._on_death(silent, TimeoutError("no sign of life"))
            self._replicas.check_startup()
            self.telemetry.bucket = self._replicas.bucket() or self.telemetry.bucket

    def _prepared(self, replica: AskingReplica) -> None:
        try:
            self._replicas.receive(replica)
        except RayError as error:
            self._on_death(replica, error)

    def _take(self, replica: AskingReplica, call: AskingCall) -> None:
        """The next event of a call, or its end."""
        try:
            event: Event = ray.get(next(call.events))
        except StopIteration:
            replica.calls.remove(call)
            if call.draws:
                raise AssertionError(f"{len(call.draws)} draws have no last event") from None
        except RayTaskError as error:
            self._purchases.lost(list(call.draws.values()))
            replica.calls.remove(call)
            self._end_now(reason_of(error))
        except RayError as error:
            self._on_death(replica, error)
        else:
            self._record(replica, call, event)

    def _take_arrived(self, replica: AskingReplica, call: AskingCall) -> None:
        """The events of a call that its replica had sent before it died: they are here, though its stream ends so."""
        with suppress(StopIteration, RayError):
            while ray.wait([call.events], timeout=0)[0]:
                event: Event = ray.get(next(call.events), timeout=ARRIVED_SECONDS)
                if not isinstance(event, PermitWanted):  # no one is there who would send that picture again
                    self._record(replica, call, event)

    def _record(self, replica: AskingReplica, call: AskingCall, event: Event) -> None:
        match event:
            case Answered():
                draw = call.draws.pop(event.key)
                self._purchases.answered(draw, event)
                self._replicas.has_answered()
                self.telemetry.queries += bool(event.attempts)
                changed = self._versions.changed(draw.log, event.version, self._tasks[draw.run].spec.api)
                if changed is not None:
                    draw.foreign = True
                    self._end_now(changed)
            case PermitWanted():
                draw = call.draws[event.key]
                if self._ending is None and self._purchases.intend_again(draw):
                    self._permits.append((replica, draw.run, event.key))
                    return
                self._purchases.lost([draw])
                self._ending = self._ending or SPENT
                replica.handle.permit.remote(draw.run, event.key, False)
            case ThrottledOnce():
                self.telemetry.throttled += 1
                self.telemetry.bucket = self.telemetry.bucket._replace(rate=event.rate)
            case GivenUp():
                draw = call.draws.pop(event.key)
                self._purchases.given_up(draw, event)
                self._units.put_back([draw])
                self._ending = self._ending or f"{self._tasks[draw.run].spec.api} gives no answer: {event.reason}"
            case Failed():
                self._end_now(event.reason)

    def _on_death(self, replica: AskingReplica, error: BaseException) -> None:
        """Log what had arrived; ask for other draws again, elsewhere: they may have been paid for, and are charged."""
        for call in replica.calls:
            self._take_arrived(replica, call)
        draws = [draw for call in replica.calls for draw in call.draws.values()]
        self._purchases.lost(draws)
        self._units.put_back(draws)
        self._permits = [permit for permit in self._permits if permit[0] is not replica]
        replica.calls.clear()
        self.telemetry.died()
        self.telemetry.drawn_again(len(draws))
        again = f"; its {queries(len(draws))} in flight, perhaps paid for, will be sent again" * bool(draws)
        self._note(f"a replica on {replica.where} died ({one_line(error)}){again}")
        self._replicas.replace(replica, error)

    def _end_now(self, reason: str) -> None:
        """No further request makes sense: those in flight may be answered."""
        self._ending = self._ending or reason
        for replica in self._replicas.ready:
            replica.handle.drain.remote()

    def _drain(self) -> None:
        """Wait for the answers to what is in flight, and log them."""
        self._note(f"waiting for {queries(self._in_flight)} in flight, which are paid for (Ctrl-C: do not wait)")
        self._end_now("stopped")
        until = monotonic() + self._drain_seconds
        try:
            while self._in_flight and monotonic() < until and not self._hurried:
                self._wait()
        finally:
            self._commit()

    def _publish(self) -> None:
        self.telemetry.up(len(self._replicas.ready))
        self.telemetry.queue(self._units.waiting, self._in_flight)
        spent, before = self._purchases.budget.spent, self._before
        self.telemetry.charged = spent.queries - before.queries
        self.telemetry.dollars = (spent.cost - before.cost) / BILLIONTHS

    def _stopped(self) -> RaysmoothError:
        """Why it ends, and what is left to do."""
        left = None if self._images_left is None else self._images_left()
        return stopped(self._ending, self._purchases.budget.spent, left)

    def _missing(self, next_request: NextRequest) -> RaysmoothError:
        """The refusal to go on without asking."""
        missing, until, request = self._units.lacking(), monotonic() + MISSING_SECONDS, next_request()
        while request is not None and monotonic() < until:
            missing += self._units.would_lack(request)
            request = next_request()
        return not_logged(missing, request is not None)


def given(calls: Sequence[tuple[AskingReplica, Sequence[Any]]], replica: AskingReplica) -> int:
    """Draws that `replica` is about to be given."""
    return sum(len(draws) for one, draws in calls if one is replica)
