"""A pool in simulated time: the real dispatcher, on replicas whose starts, calls and deaths are events of a clock.

Nothing waits, so that hours of a pool and thousands of deaths take a second.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.work_unit import Block, Drawn, UnitCounts, WorkUnit
from raysmooth.pipeline.pool.death_causes import DeathCause
from raysmooth.pipeline.pool.dispatcher import Dispatcher
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry

NEVER = float("inf")


@dataclass
class Conditions:
    """What the simulated replicas are like. Seconds: of a start, of a unit, of a call beside its units, and, of each
    replica, between deaths from outside on average. `culprits`: image ids whose units kill after `kills_after` seconds.
    `cause`: of deaths from outside, as far as Ray knows.
    """

    replicas: int = 2
    start: float = 7.0
    unit: float = 0.02
    overhead: float = 0.003
    between_deaths: float = NEVER
    culprits: frozenset[int] = frozenset()
    kills_after: float = 0.0
    cause: DeathCause = DeathCause.UNKNOWN
    seed: int = 0


@dataclass
class Replica:
    """`handle` is what the dispatcher sees of it; `call_began` is when its oldest call did."""

    handle: ReplicaHandle
    ready_at: float
    dies_at: float
    call_began: float = 0.0


@dataclass
class Outcome:
    """What came of a simulation: `results` with their times; `deaths` of replicas with units, and `starting` ones; the
    replica-seconds that were `available`, and those spent on `suspects`.
    """

    results: list[tuple[float, UnitResult]] = field(default_factory=list)
    deaths: int = 0
    starting: int = 0
    available: float = 0.0
    suspects: float = 0.0

    @property
    def given_up(self) -> list[int]:
        return [result.request.unit.image_ids[0] for _, result in self.results if result.drawn is None]

    @property
    def draws_per_second(self) -> float:
        """Draws per second of replica-time that was really available."""
        return sum(one.request.unit.draws for _, one in self.results if one.drawn is not None) / self.available


class SimulatedPool:
    """It is the dispatcher's group of replicas, the clock, and Ray."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, conditions: Conditions) -> None:
        self.now, self.given, self.size = 1000.0, conditions, conditions.replicas
        self._chance, self._numbers = Random(conditions.seed), count()
        self._answer: Any = None
        for module in ("dispatcher", "replica_handle", "failures"):
            monkeypatch.setattr(f"raysmooth.pipeline.pool.{module}.monotonic", lambda: self.now)
        monkeypatch.setattr("raysmooth.pipeline.pool.dispatcher.ray.get", self._get)
        monkeypatch.setattr("raysmooth.pipeline.pool.dispatcher.cause_of_death", self._cause_of_death)
        self._cause = DeathCause.UNKNOWN
        self.telemetry, self.notes, self.outcome = Telemetry(), list[str](), Outcome()
        self.dispatcher = Dispatcher(self, self.notes.append, self.telemetry)  # type: ignore[arg-type]
        self._replicas = [self._start() for _ in range(self.size)]

    def __iter__(self) -> Iterator[ReplicaHandle]:
        return iter([replica.handle for replica in self._replicas])

    def are_ready(self) -> bool:
        return all(replica.handle.ready for replica in self._replicas)

    def replace(self, handle: ReplicaHandle) -> None:
        handle.stopped = True
        place = next(i for i, replica in enumerate(self._replicas) if replica.handle is handle)
        self._replicas[place] = self._start()

    def draw(self, units: int, most_seconds: float = NEVER, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Draw one unit of 10 draws for each of `units` images, as Pool.draw does, until they are done."""
        left = (UnitRequest(WorkUnit(0, Role.ESTIMATION, (Block(i, 0, 10),)), {}) for i in range(units))
        end = self.now + most_seconds
        while self.now < end and not stop():
            self.dispatcher.backlog.drop_unwanted(lambda unit: True)
            exhausted = self.dispatcher.hand_out(lambda: next(left, None))
            if self.dispatcher.is_idle and exhausted:
                break
            when, replica, event = min(
                (self._next_event(replica) for replica in self._replicas), key=lambda found: found[0]
            )
            for other in self._replicas:
                if other.handle.ready:
                    self.outcome.available += when - self.now
                    self.outcome.suspects += (when - self.now) * (
                        other.handle.isolated and bool(other.handle.in_flight)
                    )
            self.now = when
            for result in event(replica):
                self.outcome.results.append((self.now, result))
            self.dispatcher.refuse_hopeless()
        return self.outcome

    def _start(self) -> Replica:
        actor = SimpleNamespace(draw=SimpleNamespace(remote=lambda *given: object()))
        identity = ReplicaIdentity("scripted", "0", "0", f"node{next(self._numbers)}", 1)
        seconds = self.given.start * self._chance.uniform(0.7, 1.3)
        between = self.given.between_deaths
        dies_at = self.now + self._chance.expovariate(1 / between) if between < NEVER else NEVER
        return Replica(ReplicaHandle(actor, identity=identity), self.now + seconds, dies_at)

    def _next_event(self, replica: Replica) -> tuple[float, Replica, Callable[[Replica], list[UnitResult]]]:
        handle = replica.handle
        if not handle.ready:
            event = (replica.ready_at, replica, self._becomes_ready)
        elif handle.in_flight:
            units = [attempt.unit for attempt in next(iter(handle.in_flight.values()))]
            deadly = next((place for place, unit in enumerate(units) if unit.image_ids[0] in self.given.culprits), None)
            if deadly is not None:
                event = (handle.since + self.given.unit * deadly + self.given.kills_after, replica, self._is_killed)
            else:
                event = (handle.since + self.given.unit * len(units) + self.given.overhead, replica, self._answers)
        else:
            event = (NEVER, replica, self._answers)
        return event if event[0] <= replica.dies_at else (replica.dies_at, replica, self._dies_from_outside)

    def _becomes_ready(self, replica: Replica) -> list[UnitResult]:
        replica.handle.became_ready()
        return []

    def _answers(self, replica: Replica) -> list[UnitResult]:
        reference, call = next(iter(replica.handle.in_flight.items()))
        counts = [UnitCounts(np.ones((1, 2), np.int64), np.zeros(1, np.int64), self.given.unit, 1) for _ in call]
        self._answer = Drawn(counts)
        return self.dispatcher.receive(replica.handle, reference)

    def _is_killed(self, replica: Replica) -> list[UnitResult]:
        return self._dies(replica, DeathCause.UNKNOWN)

    def _dies_from_outside(self, replica: Replica) -> list[UnitResult]:
        return self._dies(replica, self.given.cause)

    def _dies(self, replica: Replica, cause: DeathCause) -> list[UnitResult]:
        self._cause = cause
        self.outcome.deaths += replica.handle.ready
        self.outcome.starting += not replica.handle.ready
        return self.dispatcher.on_replica_death(replica.handle, ActorDiedError())

    def _cause_of_death(self, handle: object, error: BaseException, was_ready: bool) -> DeathCause:
        return self._cause if was_ready else DeathCause.STARTING

    def _get(self, reference: object) -> Any:
        return self._answer
