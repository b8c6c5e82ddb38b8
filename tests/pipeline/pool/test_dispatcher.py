"""How units are handed out and retried, case by case; without Ray, on replicas that answer on request."""

from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.work_unit import Block, Drawn, UnitCounts, WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.backlog import NextRequest
from raysmooth.pipeline.pool.dispatcher import WINDOW, Dispatcher
from raysmooth.pipeline.pool.failures import (
    FIRST_STANDSTILL,
    HOPELESS,
    MAX_LONE_DEATHS,
    MAX_OUTSIDE_DEATHS,
    MOST_LONE_DEATHS,
)
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.stragglers import PATIENCE
from raysmooth.pipeline.pool.tasks import UnitAttempt, UnitRequest
from raysmooth.pipeline.pool.telemetry import Telemetry


class Group:
    """Replicas that start at once."""

    def __init__(self, size: int) -> None:
        self.size, self.ready, self._numbers = size, True, count()
        self.replicas = [self._start() for _ in range(size)]

    def __iter__(self) -> Iterator[ReplicaHandle]:
        return iter(list(self.replicas))

    def are_ready(self) -> bool:
        return self.ready

    def replace(self, replica: ReplicaHandle) -> None:
        replica.stopped = True
        self.replicas[self.replicas.index(replica)] = self._start()

    def _start(self) -> ReplicaHandle:
        actor = SimpleNamespace(draw=SimpleNamespace(remote=lambda *given: object()))
        identity = ReplicaIdentity("scripted", "0", "0", f"node{next(self._numbers)}", 1)
        return ReplicaHandle(actor, identity=identity, ready=True)


class Scene:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, replicas: int) -> None:
        self.group, self.telemetry, self.notes = Group(replicas), Telemetry(), list[str]()
        self.dispatcher = Dispatcher(self.group, self.notes.append, self.telemetry)  # type: ignore[arg-type]
        self._answer: Any = None
        monkeypatch.setattr("raysmooth.pipeline.pool.dispatcher.ray.get", self._get)

    def _get(self, reference: object) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def answers(self, replica: ReplicaHandle, answer: Any = None, failed: str | None = None) -> list[Any]:
        """The results of a replica's oldest call, which it answers with counts, all of them or before `failed`."""
        reference, call = next(iter(replica.in_flight.items()))
        done = [UnitCounts(np.ones((1, 2), np.int64), np.zeros(1, np.int64), 60.0, 1) for _ in call]
        self._answer = answer if answer is not None else Drawn([] if failed else done, failed)
        return self.dispatcher.receive(replica, reference)

    def held(self) -> list[list[int]]:
        """Image ids that each replica holds, in the order of its calls."""
        return [[one.unit.image_ids[0] for one in replica.attempts] for replica in self.group]


def requests(number: int) -> NextRequest:
    left = (UnitRequest(WorkUnit(0, Role.ESTIMATION, (Block(i, 0, 10),)), {}) for i in range(number))
    return lambda: next(left, None)


def suspect(image_id: int) -> UnitAttempt:
    return UnitAttempt(UnitRequest(WorkUnit(0, Role.ESTIMATION, (Block(image_id, 0, 10),)), {}), suspect=True)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Scene]:
    return lambda replicas: Scene(monkeypatch, replicas)


def test_units_are_handed_out_round_by_round(scene: Callable[[int], Scene]) -> None:
    here = scene(2)
    assert not here.dispatcher.hand_out(requests(100))
    assert here.held() == [[0, 2, 4], [1, 3, 5]]
    assert here.dispatcher.in_flight == 2 * WINDOW
    here = scene(2)
    assert here.dispatcher.hand_out(requests(3))  # too little to fill them
    assert here.held() == [[0, 2], [1]]
    here = scene(2)
    here.group.ready = False
    assert not here.dispatcher.hand_out(requests(100))
    assert here.held() == [[0, 2], [1, 3]]  # the rest is for those that are still loading


def test_replicas_that_drain_or_are_slow_get_nothing_while_there_are_others(scene: Callable[[int], Scene]) -> None:
    here = scene(3)
    first, second, _ = here.group.replicas
    first.draining, second.slow = True, True
    here.dispatcher.hand_out(requests(100))
    assert here.held() == [[], [], [0, 1, 2]]
    here = scene(1)
    here.group.replicas[0].draining = True
    here.dispatcher.hand_out(requests(100))
    assert here.held() == [[0, 1, 2]]


def test_a_unit_is_done_by_its_first_answer(scene: Callable[[int], Scene]) -> None:
    here = scene(2)
    here.dispatcher.hand_out(requests(1))
    slow, other = here.group.replicas
    slow.since -= PATIENCE + 1  # for a unit of unknown duration
    assert here.dispatcher.check_straggler(slow) == []
    assert slow.slow
    assert "its 1 work unit will be drawn elsewhere too" in here.notes[0]
    here.dispatcher.hand_out(requests(0))
    assert here.held() == [[0], [0]]
    (result,) = here.answers(other)
    assert result.request.unit.image_ids == (0,)
    assert here.dispatcher.is_idle  # though the slow one still holds it
    assert here.answers(slow) == []
    assert (here.telemetry.again, here.telemetry.drawn_twice) == (1, 1)
    assert not slow.slow


def test_a_silent_replica_is_replaced_after_much_longer(scene: Callable[[int], Scene]) -> None:
    here = scene(1)
    here.dispatcher.hand_out(requests(2))
    (silent,) = here.group.replicas
    silent.since -= 2 * PATIENCE + 1
    assert here.dispatcher.check_straggler(silent) == []
    assert silent.stopped
    assert (here.telemetry.deaths, len(here.dispatcher.backlog), here.dispatcher.backlog.suspects) == (1, 2, 1)


def test_units_that_a_dead_replica_drew_are_drawn_by_an_empty_one_and_others_go_on(
    scene: Callable[[int], Scene],
) -> None:
    here = scene(3)
    source = requests(100)
    here.dispatcher.hand_out(source)
    dead, *others = here.group.replicas
    assert here.answers(dead, ActorDiedError()) == []
    assert here.notes == ["replica on node0 died; its 3 work units will be retried"]
    here.dispatcher.hand_out(source)
    # The new replica gets the unit of the oldest call, and nothing else; the two behind it have not been begun.
    assert here.held() == [[0], [1, 4, 7], [2, 5, 8]]
    here.answers(others[0])
    here.dispatcher.hand_out(source)
    assert here.held() == [[0], [4, 7, 3], [2, 5, 8]]
    (result,) = here.answers(here.group.replicas[0])
    assert result.drawn is not None
    here.dispatcher.hand_out(source)
    assert here.held() == [[6, 9, 10], [4, 7, 3], [2, 5, 8]]


def test_of_two_replicas_one_draws_suspects_and_of_one_it_takes_turns(
    scene: Callable[[int], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("raysmooth.pipeline.pool.replica_handle.monotonic", lambda: now[0])
    for replicas in (2, 1):
        here = scene(replicas)
        here.dispatcher.backlog.add_suspects([[suspect(number)] for number in (101, 102)])
        source = requests(100)
        here.dispatcher.hand_out(source)
        assert here.held() == [[101], [0, 1, 2]][:replicas]
        now[0] += 10
        here.answers(here.group.replicas[0])
        here.dispatcher.hand_out(source)
        # Other work is owed ten seconds by now, which it gets before the next suspect.
        assert here.held()[0] == ([3, 4, 5] if replicas == 2 else [0, 1, 2])
        for _ in range(2):
            now[0] += 5
            here.answers(here.group.replicas[0])
            here.dispatcher.hand_out(source)
        while here.group.replicas[0].in_flight and here.dispatcher.backlog.suspects:
            here.answers(here.group.replicas[0])
            here.dispatcher.hand_out(source)
        assert here.held()[0] == [102]


def test_suspects_need_not_wait_where_nothing_else_is_left(scene: Callable[[int], Scene]) -> None:
    here = scene(3)
    here.dispatcher.backlog.add_suspects([[suspect(number)] for number in (101, 102, 103)])
    assert here.dispatcher.hand_out(requests(0))
    assert here.held() == [[101], [102], [103]]


def test_a_death_from_outside_makes_a_suspect_only_of_a_unit_that_has_had_many(scene: Callable[[int], Scene]) -> None:
    here = scene(1)
    source = requests(1)
    for death in range(1, MAX_OUTSIDE_DEATHS + 2):
        here.dispatcher.hand_out(source)
        assert here.answers(here.group.replicas[0], OutOfMemoryError("the node runs low on memory")) == []
        assert here.dispatcher.backlog.suspects == (death > MAX_OUTSIDE_DEATHS)
    assert here.notes[0] == "replica on node0 died, by a cause from outside; its 1 work unit will be retried"


def test_a_unit_that_silences_every_replica_is_given_up(scene: Callable[[int], Scene]) -> None:
    """Though it waits to be drawn elsewhere when its replica is taken for dead."""
    here = scene(1)
    source, results = requests(1), list[Any]()
    for _ in range(MOST_LONE_DEATHS):
        here.dispatcher.hand_out(source)
        (silent,) = here.group.replicas
        for waited in (PATIENCE + 1, PATIENCE):
            silent.since -= waited
            results += here.dispatcher.check_straggler(silent)
        assert silent.stopped
    assert [result.failure for result in results] == [
        "the replica died 6 times drawing this alone: no answer for 1201 s"
    ]


def test_a_unit_that_another_replica_holds_too_is_not_put_back(scene: Callable[[int], Scene]) -> None:
    here = scene(2)
    here.dispatcher.hand_out(requests(1))
    slow, _ = here.group.replicas
    slow.since -= PATIENCE + 1
    here.dispatcher.check_straggler(slow)
    here.dispatcher.hand_out(requests(0))
    assert here.answers(slow, ActorDiedError()) == []
    assert len(here.dispatcher.backlog) == 0
    assert not here.dispatcher.is_idle


def test_a_unit_that_kills_alone_is_given_up(scene: Callable[[int], Scene]) -> None:
    here = scene(1)
    source = requests(1)
    for death in range(1, MAX_LONE_DEATHS + 1):
        here.dispatcher.hand_out(source)
        results = here.answers(here.group.replicas[0], ActorDiedError())
        assert len(results) == (death == MAX_LONE_DEATHS)
    assert "died 3 times drawing this alone" in results[0].failure
    here.dispatcher.refuse_hopeless()
    here.dispatcher.backlog.drop_unwanted(lambda unit: True)
    assert here.dispatcher.is_idle


def test_a_unit_that_raises_is_tried_once_more_on_another_replica(scene: Callable[[int], Scene]) -> None:
    here = scene(1)
    source = requests(2)
    here.dispatcher.hand_out(source)
    (first,) = here.group.replicas
    assert here.answers(first, failed="ValueError: bad") == []
    assert first.stopped
    here.dispatcher.hand_out(source)
    assert here.held() == [[0]]  # alone, though another one waits
    (result,) = here.answers(here.group.replicas[0], failed="ValueError: bad")
    assert (result.drawn, result.failure) == (None, "ValueError: bad")
    here.dispatcher.hand_out(source)
    assert here.held() == [[1]]


def test_a_refusal_in_a_replica_stops_the_run(scene: Callable[[int], Scene]) -> None:
    here = scene(1)
    here.dispatcher.hand_out(requests(1))
    refused = RayTaskError("draw", "trace", RaysmoothError("too small"))
    with pytest.raises(RaysmoothError, match="too small"):
        here.answers(here.group.replicas[0], refused)


def test_failures_in_a_row_stop_the_run_after_results_are_out(
    scene: Callable[[int], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("raysmooth.pipeline.pool.failures.monotonic", lambda: now[0])
    here = scene(1)
    for _ in range(HOPELESS - 1):
        here.dispatcher.on_replica_death(here.group.replicas[0], ActorDiedError())
        here.dispatcher.refuse_hopeless()
    now[0] = FIRST_STANDSTILL + 1
    assert here.dispatcher.on_replica_death(here.group.replicas[0], RuntimeError("something else")) == []
    with pytest.raises(RaysmoothError, match="the first: The actor died unexpectedly"):
        here.dispatcher.refuse_hopeless()


def test_late_answers_of_calls_that_were_taken_back_are_ignored(scene: Callable[[int], Scene]) -> None:
    here = scene(1)
    here.dispatcher.hand_out(requests(1))
    (dead,) = here.group.replicas
    reference = next(iter(dead.in_flight))
    here.dispatcher.on_replica_death(dead, TimeoutError("unreachable"))
    assert here.dispatcher.receive(dead, reference) == []
