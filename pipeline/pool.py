"""The pool of replicas: keeps a bounded window of work units in flight for each, and survives their deaths.

A unit is done when its counts came back, once. A replica that dies takes no unit with it: what it held is drawn again
elsewhere, the same draws since their streams belong to the unit. Units that were in a dead replica's hand are suspects
and run alone from then on, so that a unit is blamed only for deaths with nothing else in hand.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from actors.refusal import Refusal
from actors.replica import Replica, Sampling
from actors.replica_identity import ReplicaIdentity
from actors.work_unit import Drawn, WorkUnit
from pipeline.cluster import ReplicaResources
from pipeline.orders import Errand, Order, Outcome
from pipeline.shipping import Shipping
from pipeline.telemetry import Telemetry

WINDOW = 3
"""Calls in flight for each replica: one being drawn, two waiting, so that it never waits for the driver."""

CALL_SECONDS = 0.15
"""About how long a call should take: it carries as many units as that needs. One Ray driver hands out some thousand
calls a second, whatever the number of replicas."""

CALL_UNITS = 64
"""The most units of a call."""

BLAME = 3
"""Deaths with nothing else in hand after which a unit is given up."""

ATTEMPTS = 2
"""Replicas on which a unit may raise an exception before it is given up."""

HOPELESS = 8
"""Deaths and exceptions in a row for each replica, without a unit finished in between or blamed for its deaths, after
which the run stops. Well above BLAME: one image may have units in every replica's hand."""

PATIENCE = 600.0
"""Seconds to wait for a replica where there is none: an autoscaler may need minutes for a node."""

TELL = 15.0
"""How often, in seconds, whoever watches hears of that."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


_Call = list[Errand]


@dataclass(eq=False)
class _Member:
    """A replica. `asked` is the call that has to be answered before it draws: who it is, or that it is prepared."""

    handle: Any
    asked: Any
    identity: ReplicaIdentity | None = None
    ready: bool = False
    hand: dict[Any, _Call] = field(default_factory=dict)

    @property
    def alone_with_suspect(self) -> bool:
        return any(errand.suspect for call in self.hand.values() for errand in call)


class Pool:
    """`size` replicas, each with `resources`, replaced when they die. A context: leaving it ends them.

    `note` is told, in a line, what a person watching should know. `replica` is the class of the actor, whose methods
    are those of Replica. `telemetry` is told how it goes.
    """

    def __init__(
        self, size: int, resources: ReplicaResources, note: Callable[[str], None], replica: type[Any] = Replica
    ) -> None:
        self._resources, self._note, self._replica = resources, note, replica
        self.telemetry = Telemetry()
        self._identity: ReplicaIdentity | None = None
        self._samplings: list[Sampling] | None = None
        self._shapes: list[tuple[int, ...]] = []
        self._again: deque[Errand] = deque()
        self._seconds_a_draw: dict[int, float] = {}
        self._shipping = Shipping()
        self._failures_in_a_row = 0
        self._alone_since = self._told = monotonic()
        self._size = size
        self._members = [self._start() for _ in range(size)]

    def wait_up(self) -> ReplicaIdentity:
        """The identity of the first replica that is up; the others must be of its kind."""
        while self._identity is None:
            self._wait_for_answers()
        return self._identity

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of one replica that is up to a call of its method `question`; of another if it dies over it."""
        while True:
            member = next((member for member in self._members if member.identity is not None), None)
            if member is None:
                self._wait_for_answers()
                continue
            try:
                return ray.get(getattr(member.handle, question).remote(*arguments))
            except RayTaskError as error:
                raise Refusal(self._reason(error)) from error
            except RayError as error:
                for _ in self._bury(member, error):
                    raise AssertionError("a replica that is asked holds no unit") from error

    def ask_all(self, question: str, *arguments: Any) -> list[Any]:
        """The answers of all replicas that are prepared, asked at the same time."""
        up = [member for member in self._members if member.ready]
        try:
            return ray.get([getattr(member.handle, question).remote(*arguments) for member in up])
        except RayTaskError as error:
            raise Refusal(self._reason(error)) from error
        except RayError as error:
            raise Refusal(f"a replica died ({_line(error)}): try again") from error

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> None:
        """Tell all replicas, those to come too, what will be drawn, for images (C, H, W) of which shapes; they load
        and compile it. To be called once, before `draw`.
        """
        self._samplings, self._shapes = list(samplings), list(image_shapes)
        for member in self._members:
            if member.identity is not None:
                self._ask_to_prepare(member)

    def wait_prepared(self, patience: float = 0.0) -> None:
        """Until one replica can draw, and for `patience` seconds more until all can."""
        until = None
        while not all(member.ready for member in self._members):
            if any(member.ready for member in self._members):
                until = until or monotonic() + patience
                if monotonic() >= until:
                    return
            self._wait_for_answers()

    def draw(self, next_order: Callable[[], Order | None], wanted: Callable[[WorkUnit], bool]) -> Iterator[Outcome]:
        """Draw whatever `next_order` gives and yield the outcomes in the order in which they come. It is asked as fast
        as replicas come free; None means that there is nothing now, and nothing any more once all outcomes of what
        it gave are in. A unit that a death has thrown back is dropped if it is not `wanted` any more.

        Raises Refusal where going on is pointless: a replica refuses its weights, the GPU's memory is too small, all
        replicas die.
        """
        while True:
            self._again = deque(errand for errand in self._again if wanted(errand.unit))
            empty = self._hand_out(next_order)
            if not self._again and not any(member.hand for member in self._members):
                # Replicas may all be starting anew, with units still to come.
                order = None if empty else next_order()
                if order is None:
                    return
                self._again.append(Errand(order))
            waiting = {reference: m for m in self._members for reference in (*m.hand, *self._unanswered(m))}
            self._tell()
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=1.0)
            self._mind_the_wait()
            if ready and len(waiting) > 1:  # and whatever else has come in meanwhile
                ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
            for reference in ready:
                yield from self._receive(waiting[reference], reference)

    def _tell(self) -> None:
        self.telemetry.up(sum(member.ready for member in self._members))
        in_flight = sum(len(call) for member in self._members for call in member.hand.values())
        self.telemetry.queue(len(self._again), in_flight)

    def close(self) -> None:
        for member in self._members:
            ray.kill(member.handle)
        self._members = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> _Member:
        actor = ray.remote(self._replica).options(
            num_cpus=self._resources.cpus, num_gpus=self._resources.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        handle = actor.remote(self._resources.device, int(self._resources.cpus))
        return _Member(handle, handle.identity.remote())

    @staticmethod
    def _unanswered(member: _Member) -> list[Any]:
        return [member.asked] if member.asked is not None else []

    def _wait_for_answers(self) -> None:
        """A second at most: who came up, who is prepared."""
        asked = {member.asked: member for member in self._members if member.asked is not None}
        ready, _ = ray.wait(list(asked), timeout=1.0)
        for reference in ready:
            for _ in self._receive(asked[reference], reference):
                raise AssertionError("nothing has been handed out")
        self._mind_the_wait()

    def _hand_out(self, next_order: Callable[[], Order | None]) -> bool:
        """Fill the replicas' hands; whether there was too little to fill them with."""
        free = [member for member in self._members if member.ready and not member.alone_with_suspect]
        # Each suspect needs a replica with an empty hand: that many are not refilled until they are empty.
        suspects = [errand for errand in self._again if errand.suspect]
        draining, filled = free[: len(suspects)], free[len(suspects) :]
        for member, suspect in zip((m for m in draining if not m.hand), suspects, strict=False):
            self._again.remove(suspect)
            self._send(member, [suspect])
        # Of little work something is left for those that are still loading.
        window = WINDOW if all(member.ready for member in self._members) else WINDOW - 1
        for held in range(window):  # round by round, so that the last units of a run are shared among all
            for member in filled:
                if len(member.hand) <= held:
                    call = self._next_call(next_order)
                    if not call:
                        return True
                    self._send(member, call)
        return False

    def _next_call(self, next_order: Callable[[], Order | None]) -> _Call:
        """As many units as make a call of CALL_SECONDS, by what units have taken so far; one while that is unknown."""
        call: _Call = []
        seconds = 0.0
        while seconds < CALL_SECONDS and len(call) < CALL_UNITS:
            errand = self._next_innocent()
            if errand is None:
                order = next_order()
                errand = Errand(order) if order is not None else None
            if errand is None:
                break
            if errand.order.only is not None:  # its blank images bear the names of real ones
                if not call:
                    return [errand]
                self._again.appendleft(errand)
                break
            call.append(errand)
            seconds += self._seconds_a_draw.get(errand.unit.run, CALL_SECONDS) * errand.unit.draws
        return call

    def _next_innocent(self) -> Errand | None:
        """A unit that only waited behind one that raised."""
        errand = next((errand for errand in self._again if not errand.suspect), None)
        if errand is not None:
            self._again.remove(errand)
        return errand

    def _send(self, member: _Member, call: _Call) -> None:
        images = {(e.unit.run, image_id): image for e in call for image_id, image in e.order.images.items()}
        only = call[0].order.only
        packed = [self._shipping.packed(k, image) if only in (None, k[1]) else image for k, image in images.items()]
        reference = member.handle.draw.remote([errand.unit for errand in call], list(images), *packed)
        member.hand[reference] = call

    def _receive(self, member: _Member, reference: Any) -> Iterator[Outcome]:
        if reference == member.asked:
            self._receive_answer(member)
            return
        if reference not in member.hand:  # the replica has been buried since
            return
        try:
            drawn: Drawn = ray.get(reference)
        except RayTaskError as error:
            yield from self._doubt(member, member.hand.pop(reference), self._reason(error))
            return
        except RayError as error:  # died, killed for its memory, its node or its answer lost
            yield from self._bury(member, error)
            return
        call = member.hand.pop(reference)
        for errand, counts in zip(call, drawn.counts, strict=False):
            self._failures_in_a_row = 0
            self._seconds_a_draw[errand.unit.run] = counts.seconds / errand.unit.draws
            yield Outcome(errand.order, counts)
        if drawn.failed is not None:
            yield from self._doubt(member, call[len(drawn.counts) :], drawn.failed)

    def _receive_answer(self, member: _Member) -> None:
        asked, member.asked = member.asked, None
        try:
            answer = ray.get(asked)
        except RayTaskError as error:
            raise Refusal(self._reason(error)) from error
        except RayError as error:
            for _ in self._bury(member, error):
                raise AssertionError("a replica that is not ready holds no unit") from error
            return
        if member.identity is not None:
            member.ready = True
            return
        self._identity = self._identity or answer
        if answer.kind == self._identity.kind:
            member.identity = answer
            if self._samplings is not None:
                self._ask_to_prepare(member)
            return
        # Another kind of device rounds differently: its counts would be of another base classifier.
        self._note(f"a replica on {answer.node} is of another kind ({', '.join(answer.kind)}): unused")
        self._members.remove(member)
        ray.kill(member.handle)
        if not self._members:
            raise Refusal(
                f"stopped: no replica is left of the run's kind ({', '.join(self._identity.kind)}): "
                "run the command again where there is one"
            )

    def _ask_to_prepare(self, member: _Member) -> None:
        member.asked = member.handle.prepare.remote(self._samplings, self._shapes)

    def _doubt(self, member: _Member, call: _Call, reason: str) -> Iterator[Outcome]:
        """The first unit of `call` raised an exception: is it the unit or the replica (a GPU in a bad state fails
        whatever comes next)? Both are taken at their word once: the replica is replaced, the unit tried again alone.
        """
        errand, *behind = call
        errand.raised += 1
        errand.suspect = True
        if errand.raised >= ATTEMPTS:
            yield Outcome(errand.order, None, reason)
        else:
            self._note(f"a work unit failed ({reason}): tried again alone, on another replica")
            self._again.append(errand)
        self._again.extend([*behind, *_emptied(member)])
        self._replace(member)
        self._failures_in_a_row += 1
        self._refuse_hopeless(reason)

    def _replace(self, member: _Member) -> None:
        self._members.remove(member)
        ray.kill(member.handle)  # unreachable is not always dead: two must not hold one GPU
        self._members.append(self._start())

    def _mind_the_wait(self) -> None:
        """Say so where no replica is up, and give up when none comes."""
        now = monotonic()
        if any(member.identity for member in self._members):  # preparing has no limit: compiling may take minutes
            self._alone_since = self._told = now
            return
        needs = f"{self._resources.gpus:g} GPU and " * (self._resources.gpus > 0) + f"{self._resources.cpus} CPU"
        if now - self._alone_since > PATIENCE:
            raise Refusal(
                f"stopped: no replica came up in {PATIENCE:.0f} s; each needs {needs} on one node: "
                "write other --gpus-per-replica or --cpus-per-replica, or add such a node"
            )
        if now - self._told > TELL:
            self._told = now
            self._note(f"waiting for a replica (each needs {needs} on one node; free now: {_free_resources()})")

    def _bury(self, member: _Member, error: RayError) -> Iterator[Outcome]:
        """Replace a dead replica and put its units back, or give the one up that has killed it too often."""
        where = f"on {member.identity.node}" if member.identity else "while starting"
        errands = _emptied(member)
        self._note(f"a replica died {where}; the work units in its hand ({len(errands)}) are drawn again")
        self.telemetry.died()
        self.telemetry.drawn_again(len(errands))
        self._replace(member)
        self._failures_in_a_row += 1
        alone = len(errands) == 1
        for errand in errands:
            errand.suspect = True
            errand.blamed += alone
            if errand.blamed >= BLAME:
                self._failures_in_a_row = 0
                yield Outcome(errand.order, None, f"the replica died {BLAME} times drawing this alone: {_line(error)}")
            elif alone:
                self._again.appendleft(errand)  # the most suspect first, so that it is soon blamed or cleared
            else:
                self._again.append(errand)
        self._refuse_hopeless(_line(error))

    def _refuse_hopeless(self, last: str) -> None:
        if self._failures_in_a_row >= HOPELESS * self._size:
            raise Refusal(
                f"stopped: replicas died or failed {self._failures_in_a_row} times in a row and no work unit was "
                f"finished in between; the last: {last}"
            )

    def _reason(self, error: RayTaskError) -> str:
        cause = getattr(error, "cause", error)
        if isinstance(cause, Refusal):
            raise Refusal(str(cause)) from error
        return f"{type(cause).__name__}: {_line(cause)}"


def _emptied(member: _Member) -> list[Errand]:
    """What the replica had in its hand, which holds nothing any more."""
    calls, member.hand = list(member.hand.values()), {}
    return [errand for call in calls for errand in call]


def _line(error: BaseException) -> str:
    """The one line of an error that says most: the first, or of a remote trace the last, which names the exception."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    telling = lines[-1:] if "creation task" in "".join(lines[:1]) else lines[:1]
    return telling[0][:300] if telling else type(error).__name__


def _free_resources() -> str:
    free = ray.available_resources()
    return ", ".join(f"{free.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
