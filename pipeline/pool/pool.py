"""The pool of replicas: keeps a bounded window of work units in flight for each, survives their deaths, and grows and
shrinks with the cluster.

A unit is done when its counts came back, once. A replica that dies takes no unit with it: what it held is drawn again
elsewhere, the same draws since their streams belong to the unit. So is what a replica holds that does not answer, and
the first answer counts: they are the same.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from raysmooth.actors.replica.replica import Replica, Sampling
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.work_unit import Drawn, WorkUnit
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.cluster import ReplicaResources
from raysmooth.pipeline.pool.failures import FailurePolicy, reason_of
from raysmooth.pipeline.pool.image_transfer import ImageTransfer
from raysmooth.pipeline.pool.replica_group import ReplicaGroup
from raysmooth.pipeline.pool.replica_handle import Call, ReplicaHandle
from raysmooth.pipeline.pool.stragglers import CALL_SECONDS, GIVE_UP, PATIENCE, UnitDurations
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest, UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry

WINDOW = 3
"""Calls in flight for each replica: one being drawn, two waiting, so that it never waits for the driver."""

CALL_UNITS = 64
"""The most units of a call."""

MINDED_SECONDS = 1.0
"""How often replicas are looked after that do not answer, and nodes that come and go."""


class Pool:
    """`size` replicas, each with `resources`, replaced when they die; up to `most` where nodes join that hold them and
    there is work for them. A context: leaving it ends them.

    `note` is told, in a line, what a person watching should know. `replica` is the class of the actor, whose methods
    are those of Replica. `telemetry` is told how it goes.
    """

    def __init__(
        self,
        size: int,
        resources: ReplicaResources,
        note: Callable[[str], None],
        replica: type[Any] = Replica,
        most: int | None = None,
    ) -> None:
        self._note, self.telemetry = note, Telemetry()
        self._staff = ReplicaGroup(size, max(size, most or 0), resources, note, replica)
        self._again: deque[UnitAttempt] = deque()
        self._times, self._blame, self._shipping = UnitDurations(), FailurePolicy(), ImageTransfer()
        self._minded = monotonic()

    def wait_up(self) -> ReplicaIdentity:
        """The identity of the first replica that is up; the others must be of its kind."""
        while self._staff.identity is None:
            self._wait_for_answers()
        return self._staff.identity

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of one replica that is up to a call of its method `question`; of another if it dies over it."""
        while True:
            member = next((member for member in self._staff if member.identity is not None), None)
            if member is None:
                self._wait_for_answers()
                continue
            try:
                return ray.get(getattr(member.handle, question).remote(*arguments))
            except RayTaskError as error:
                raise RaysmoothError(reason_of(error)) from error
            except RayError as error:
                for _ in self._bury(member, one_line(error)):
                    raise AssertionError("a replica that is asked holds no unit") from error

    def ask_all(self, question: str, *arguments: Any) -> list[Any]:
        """The answers of all replicas that are prepared, asked at the same time."""
        up = [member for member in self._staff if member.ready]
        try:
            return ray.get([getattr(member.handle, question).remote(*arguments) for member in up])
        except RayTaskError as error:
            raise RaysmoothError(reason_of(error)) from error
        except RayError as error:
            raise RaysmoothError(f"a replica died ({one_line(error)}): try again") from error

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> None:
        """Tell all replicas, those to come too, what will be drawn, for images (C, H, W) of which shapes; they load
        and compile it. To be called once, before `draw`.
        """
        self._staff.prepare(samplings, image_shapes)

    def wait_prepared(self, patience: float = 0.0) -> None:
        """Until one replica can draw, and for `patience` seconds more until all can that there is room for."""
        until = None
        while not self._staff.are_ready():
            if any(member.ready for member in self._staff):
                until = until or monotonic() + patience
                if monotonic() >= until:
                    return
            self._wait_for_answers()

    def draw(
        self,
        next_order: Callable[[], UnitRequest | None],
        wanted: Callable[[WorkUnit], bool],
        units_left: Callable[[], int] | None = None,
    ) -> Iterator[UnitResult]:
        """Draw whatever `next_order` gives and yield the outcomes in the order in which they come. It is asked as fast
        as replicas come free; None means that there is nothing now, and nothing any more once all outcomes of what
        it gave are in. A unit that a death has thrown back is dropped if it is not `wanted` any more. There will be no
        more replicas than about `units_left`.

        Raises RaysmoothError where going on is pointless: a replica refuses its weights, the GPU's memory is too small, all
        replicas die.
        """
        self._staff.begin(units_left)
        while True:
            self._again = deque(errand for errand in self._again if not errand.done and wanted(errand.unit))
            empty = self._hand_out(next_order)
            if not self._again and all(errand.done for member in self._staff for errand in member.errands):
                # Replicas may all be starting anew, with units still to come.
                order = None if empty else next_order()
                if order is None:
                    return
                self._again.append(UnitAttempt(order))
            waiting = {reference: member for member in self._staff for reference in member.references}
            self._tell()
            ready = _answered(waiting)
            self._staff.mind_the_wait()
            yield from self._mind_the_cluster()
            if ready and len(waiting) > 1:  # and whatever else has come in meanwhile
                ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
            for reference in ready:
                if not waiting[reference].gone:
                    yield from self._receive(waiting[reference], reference)

    def _tell(self) -> None:
        self.telemetry.up(sum(member.ready for member in self._staff))
        in_flight = sum(len(call) for member in self._staff for call in member.hand.values())
        self.telemetry.queue(len(self._again), in_flight)

    def close(self) -> None:
        self._staff.close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_for_answers(self) -> None:
        """A second at most: who came up, who is prepared."""
        asked = {member.asked: member for member in self._staff if member.asked is not None}
        ready = _answered(asked)
        for reference in ready:
            for _ in self._receive(asked[reference], reference):
                raise AssertionError("nothing has been handed out")
        self._staff.mind_the_wait()
        for _ in self._mind_the_cluster():
            raise AssertionError("nothing has been handed out")

    def _hand_out(self, next_order: Callable[[], UnitRequest | None]) -> bool:
        """Fill the replicas' hands; whether there was too little to fill them with."""
        free = [member for member in self._staff if member.is_free]
        free = [member for member in free if not member.leaving] or free
        # Each suspect needs a replica with an empty hand: that many are not refilled until they are empty.
        suspects = [errand for errand in self._again if errand.suspect]
        draining, filled = free[: len(suspects)], free[len(suspects) :]
        for member, suspect in zip((m for m in draining if not m.hand), suspects, strict=False):
            self._again.remove(suspect)
            self._send(member, [suspect])
        # Of little work something is left for those that are still loading.
        window = WINDOW if self._staff.are_ready() else WINDOW - 1
        for held in range(window):  # round by round, so that the last units of a run are shared among all
            for member in filled:
                if len(member.hand) <= held:
                    call = self._next_call(next_order)
                    if not call:
                        return True
                    self._send(member, call)
        return False

    def _next_call(self, next_order: Callable[[], UnitRequest | None]) -> Call:
        """As many units as make a call of CALL_SECONDS, by what units have taken so far; one while that is unknown."""
        call: Call = []
        seconds = 0.0
        while seconds < CALL_SECONDS and len(call) < CALL_UNITS:
            errand = self._next_innocent()
            if errand is None:
                order = next_order()
                errand = UnitAttempt(order) if order is not None else None
            if errand is None:
                break
            if errand.order.only is not None:  # its blank images bear the names of real ones
                if not call:
                    return [errand]
                self._again.appendleft(errand)
                break
            call.append(errand)
            expected = self._times.expected(errand.unit)
            seconds += CALL_SECONDS if expected is None else expected
        return call

    def _next_innocent(self) -> UnitAttempt | None:
        """A unit that only waited behind one that raised, or in the hand of a replica that does not answer."""
        errand = next((errand for errand in self._again if not errand.suspect), None)
        if errand is not None:
            self._again.remove(errand)
        return errand

    def _send(self, member: ReplicaHandle, call: Call) -> None:
        images = {(e.unit.run, image_id): image for e in call for image_id, image in e.order.images.items()}
        only = call[0].order.only
        packed = [self._shipping.packed(k, image) if only in (None, k[1]) else image for k, image in images.items()]
        member.send(call, member.handle.draw.remote([errand.unit for errand in call], list(images), *packed))

    def _receive(self, member: ReplicaHandle, reference: Any) -> Iterator[UnitResult]:
        if reference == member.asked:
            try:
                self._staff.receive(member)
            except RayError as error:
                yield from self._bury(member, one_line(error))
            return
        if reference not in member.hand:
            return
        try:
            drawn: Drawn = ray.get(reference)
        except RayTaskError as error:
            yield from self._doubt(member, member.answered(reference), reason_of(error))
            return
        except RayError as error:  # died, killed for its memory, its node or its answer lost
            yield from self._bury(member, one_line(error))
            return
        call = member.answered(reference)
        for errand, counts in zip(call, drawn.counts, strict=False):
            self._blame.clear()
            self._times.learn(errand.unit, counts.seconds)
            if errand.done:
                self.telemetry.drawn_twice += 1
            else:
                yield _done(errand, UnitResult(errand.order, counts))
        if drawn.failed is not None:
            yield from self._doubt(member, call[len(drawn.counts) :], drawn.failed)

    def _mind_the_cluster(self) -> Iterator[UnitResult]:
        """Once a second: who does not answer, which nodes come and go."""
        if monotonic() - self._minded < MINDED_SECONDS:
            return
        self._minded = monotonic()
        for member in self._staff:
            yield from self._mind_the_slow(member)
        self._staff.mind_the_nodes()

    def _mind_the_slow(self, member: ReplicaHandle) -> Iterator[UnitResult]:
        """What a replica holds that does not answer is drawn elsewhere too, and after much longer it counts as dead."""
        if not member.hand:
            return
        waited = monotonic() - member.since
        limit = self._times.limit(errand.unit for errand in next(iter(member.hand.values())))
        if waited > min(GIVE_UP * limit, limit + PATIENCE):
            yield from self._bury(member, f"no answer for {waited:.0f} s")
        elif waited > limit and not member.overdue:
            member.overdue = True
            held = [errand for errand in member.errands if not errand.done]
            self._note(
                f"a replica on {member.node} has not answered for {waited:.0f} s: "
                f"what it has in hand ({len(held)} work units) is drawn elsewhere too"
            )
            self.telemetry.drawn_again(len(held))
            self._again.extend(held)

    def _doubt(self, member: ReplicaHandle, call: Call, reason: str) -> Iterator[UnitResult]:
        """The first unit of `call` raised an exception: it is tried again alone, on another replica, or given up; the
        replica is replaced.
        """
        errand, *behind = call
        if not errand.done:
            given_up = self._blame.raised(errand, reason)
            if given_up is not None:
                yield _done(errand, given_up)
            else:
                self._note(f"a work unit failed ({reason}): tried again alone, on another replica")
                self._again.append(errand)
        self._again.extend([*behind, *member.emptied()])
        self._staff.replace(member)
        self._blame.refuse_hopeless(self._staff.size)

    def _bury(self, member: ReplicaHandle, reason: str) -> Iterator[UnitResult]:
        """Replace a dead replica and put its units back, or give the one up that has killed it too often."""
        held = {id(errand) for other in self._staff if other is not member for errand in other.errands}
        held |= {id(errand) for errand in self._again}
        errands = [errand for errand in member.emptied() if id(errand) not in held]
        where = f"on {member.node}" if member.identity else "while starting"
        self._note(f"a replica died {where}; the work units in its hand ({len(errands)}) are drawn again")
        self.telemetry.died()
        self.telemetry.drawn_again(len(errands))
        self._staff.replace(member)
        for given_up in self._blame.died(errands, reason):
            yield _done(errands[0], given_up)
        if len(errands) == 1:
            self._again.extendleft(errands)  # the most suspect first, so that it is soon blamed or cleared
        else:
            self._again.extend(errands)
        self._blame.refuse_hopeless(self._staff.size)


def _done(errand: UnitAttempt, outcome: UnitResult) -> UnitResult:
    errand.done = True
    return outcome


def _answered(references: Mapping[Any, ReplicaHandle]) -> list[Any]:
    """One that is answered, waited for a second at most; none where there is none to wait for."""
    if not references:
        sleep(0.1)
        return []
    ready, _ = ray.wait(list(references), num_returns=1, timeout=1.0)
    return list(ready)
