"""The pool of replicas: keeps a bounded window of work units in flight for each, and survives their deaths.

A unit is done when its counts came back, once. A replica that dies takes no unit with it: what it held is drawn again
elsewhere, the same draws since their streams belong to the unit. Units that were in a dead replica's hand are suspects
and run alone from then on, so that a unit is blamed only for deaths with nothing else in hand.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError, RayTaskError

from actors.draws import UnitCounts, WorkUnit
from actors.refusal import Refusal
from actors.replica import Replica, ReplicaIdentity, Sampling
from pipeline.cluster import ReplicaResources

WINDOW = 3
"""Units in flight for each replica: one being drawn, two waiting, so that it never waits for the driver."""

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

INLINE_BYTES = 100_000
"""Smaller images travel inside the call, larger ones once through the object store."""


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Outcome:
    """What became of a unit: its counts, or the reason why there are none."""

    unit: WorkUnit
    drawn: UnitCounts | None
    failure: str | None = None


@dataclass
class _Errand:
    """A unit on its way, with what its images travel as."""

    unit: WorkUnit
    images: list[Any]
    blamed: int = 0
    raised: int = 0
    suspect: bool = False


class _Supply:
    """The units still to be handed out; knows when there are no more."""

    def __init__(self, units: Iterator[tuple[WorkUnit, list[np.ndarray]]]) -> None:
        self._units, self.exhausted = units, False

    def next(self) -> _Errand | None:
        following = next(self._units, None)
        if following is None:
            self.exhausted = True
            return None
        unit, images = following
        return _Errand(unit, [_packed(image) for image in images])


@dataclass
class _Member:
    handle: Any
    asked: Any
    identity: ReplicaIdentity | None = None
    hand: dict[Any, _Errand] = field(default_factory=dict)

    @property
    def alone_with_suspect(self) -> bool:
        return any(errand.suspect for errand in self.hand.values())


class Pool:
    """`size` replicas, each with `resources`, replaced when they die. A context: leaving it ends them.

    `note` is told, in a line, what a person watching should know.
    """

    def __init__(
        self, samplings: list[Sampling], size: int, resources: ReplicaResources, note: Callable[[str], None]
    ) -> None:
        self._samplings, self._resources, self._note = samplings, resources, note
        self._identity: ReplicaIdentity | None = None
        self._again: deque[_Errand] = deque()
        self._failures_in_a_row = 0
        self._alone_since = self._told = monotonic()
        self._size = size
        self._members = [self._start() for _ in range(size)]

    def wait_ready(self) -> ReplicaIdentity:
        """The identity of the first replica that is up; the others must be of its kind."""
        while self._identity is None:
            ready, _ = ray.wait([member.asked for member in self._members], timeout=1.0)
            for reference in ready:
                self._receive_identity(reference)
            self._mind_the_wait()
        return self._identity

    def draw(
        self, units: Iterator[tuple[WorkUnit, list[np.ndarray]]], wanted: Callable[[WorkUnit], bool]
    ) -> Iterator[Outcome]:
        """Draw all `units`, each with its images (float32 (C, H, W)), and yield their outcomes in the order in which
        they finish. `units` is read only as fast as replicas come free. A unit that a death has thrown back is dropped
        if it is not `wanted` any more.

        Raises Refusal where going on is pointless: a replica refuses its weights, the GPU's memory is too small, all
        replicas die.
        """
        left = _Supply(units)
        while True:
            self._again = deque(errand for errand in self._again if wanted(errand.unit))
            self._hand_out(left)
            # Replicas may all be starting anew, with nothing in any hand and units still to come.
            if left.exhausted and not self._again and not any(member.hand for member in self._members):
                return
            waiting = [reference for member in self._members for reference in (*member.hand, *self._unanswered(member))]
            ready, _ = ray.wait(waiting, num_returns=1, timeout=1.0)
            self._mind_the_wait()
            if ready:  # and whatever else has come in meanwhile
                ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
            for reference in ready:
                yield from self._receive(reference)

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
        actor = ray.remote(Replica).options(
            num_cpus=self._resources.cpus, num_gpus=self._resources.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        handle = actor.remote(self._samplings, self._resources.device, self._resources.cpus)
        return _Member(handle, handle.identity.remote())  # type: ignore[attr-defined]

    @staticmethod
    def _unanswered(member: _Member) -> list[Any]:
        return [member.asked] if member.identity is None else []

    def _hand_out(self, left: "_Supply") -> None:
        # Each suspect needs a replica with an empty hand: that many are not refilled until they are empty.
        to_drain = sum(errand.suspect for errand in self._again)
        for member in self._members:
            if member.identity is None or member.alone_with_suspect:
                continue
            if to_drain > 0:
                to_drain -= 1
                if not member.hand:
                    suspect = next(errand for errand in self._again if errand.suspect)
                    self._again.remove(suspect)
                    self._send(member, suspect)
                continue
            while len(member.hand) < WINDOW and (errand := self._next_innocent() or left.next()) is not None:
                self._send(member, errand)

    def _next_innocent(self) -> _Errand | None:
        """A unit that only waited behind one that raised."""
        errand = next((errand for errand in self._again if not errand.suspect), None)
        if errand is not None:
            self._again.remove(errand)
        return errand

    def _send(self, member: _Member, errand: _Errand) -> None:
        member.hand[member.handle.draw.remote(errand.unit, *errand.images)] = errand

    def _receive(self, reference: Any) -> Iterator[Outcome]:
        member = next((m for m in self._members if reference in m.hand or reference == m.asked), None)
        if member is None:  # it was in the hand of a replica that has been buried since
            return
        if reference not in member.hand:
            self._receive_identity(reference)
            return
        try:
            drawn = ray.get(reference)
        except RayTaskError as error:
            yield from self._doubt(member, member.hand.pop(reference), self._reason(error))
            return
        except RayError as error:  # died, killed for its memory, its node or its answer lost
            yield from self._bury(member, error)
            return
        self._failures_in_a_row = 0
        yield Outcome(member.hand.pop(reference).unit, drawn)

    def _receive_identity(self, reference: Any) -> None:
        member = next(m for m in self._members if m.asked == reference)
        try:
            identity = ray.get(reference)
        except RayTaskError as error:
            raise Refusal(self._reason(error)) from error
        except RayError as error:
            for _ in self._bury(member, error):
                raise AssertionError("a replica that has not answered holds no unit") from error
            return
        self._identity = self._identity or identity
        if identity.kind == self._identity.kind:
            member.identity = identity
            return
        # Another kind of device rounds differently: its counts would be of another base classifier.
        self._note(f"a replica on {identity.node} is of another kind ({', '.join(identity.kind)}): unused")
        self._members.remove(member)
        ray.kill(member.handle)
        if not self._members:
            raise Refusal(
                f"stopped: no replica is left of the run's kind ({', '.join(self._identity.kind)}): "
                "run the command again where there is one"
            )

    def _doubt(self, member: _Member, errand: _Errand, reason: str) -> Iterator[Outcome]:
        """A unit raised an exception: is it the unit or the replica (a GPU in a bad state fails whatever comes next)?
        Both are taken at their word once: the replica is replaced, the unit tried again alone.
        """
        errand.raised += 1
        errand.suspect = True
        if errand.raised >= ATTEMPTS:
            yield Outcome(errand.unit, None, reason)
        else:
            self._note(f"a work unit failed ({reason}): tried again alone, on another replica")
            self._again.append(errand)
        self._again.extend(member.hand.values())
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
        if any(member.identity for member in self._members):
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
        self._note(f"a replica died {where}; the work units in its hand ({len(member.hand)}) are drawn again")
        self._replace(member)
        self._failures_in_a_row += 1
        alone = len(member.hand) == 1
        for errand in member.hand.values():
            errand.suspect = True
            errand.blamed += alone
            if errand.blamed >= BLAME:
                self._failures_in_a_row = 0
                yield Outcome(errand.unit, None, f"the replica died {BLAME} times drawing this alone: {_line(error)}")
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
        if isinstance(cause, torch.OutOfMemoryError):
            size = self._samplings[0].batch_size
            raise Refusal(
                f"the GPU's memory is too small for --batch-size {size}: write --batch-size {max(1, size // 2)} "
                "(another run: the compute batch belongs to a run)"
            ) from error
        return f"{type(cause).__name__}: {_line(cause)}"


def _packed(image: np.ndarray) -> Any:
    return image if image.nbytes <= INLINE_BYTES else ray.put(image)


def _line(error: BaseException) -> str:
    """The one line of an error that says most: the first, or of a remote trace the last, which names the exception."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    telling = lines[-1:] if "creation task" in "".join(lines[:1]) else lines[:1]
    return telling[0][:300] if telling else type(error).__name__


def _free_resources() -> str:
    free = ray.available_resources()
    return ", ".join(f"{free.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
