"""What a pool says of its replicas as they come up."""

from functools import partial
from types import SimpleNamespace

import pytest
import ray
from scripted_replica import ScriptedReplica

from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.replica_group import ReplicaGroup
from raysmooth.pipeline.pool.replica_handle import ReplicaHandle
from raysmooth.pipeline.pool.replica_resources import ReplicaResources


class Actor:
    """Its calls are answered at once; `ray.get` is to give the answer as it is."""

    def __init__(self) -> None:
        introduced = (ReplicaIdentity("scripted", "0", "0", "here", 1), "node")
        self.__ray_call__ = SimpleNamespace(remote=lambda question: introduced)
        self.prepare = SimpleNamespace(remote=lambda samplings, shapes: "prepared")


@pytest.fixture(autouse=True)
def _ray_that_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    monkeypatch.setattr(ray, "kill", lambda actor: None)
    monkeypatch.setattr(ReplicaGroup, "_actor", lambda group: Actor())
    monkeypatch.setattr("raysmooth.pipeline.pool.pool.CHECK_SECONDS", float("inf"))


@pytest.mark.parametrize("silent", [0, 1, 3])
def test_waiting_for_replicas_is_said_once_and_only_if_none_answers(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, said = iter(range(9)), list[str]()
    monkeypatch.setattr(ray, "wait", lambda asked, **how: (asked if next(seconds) >= silent else [], []))
    with Pool(2, ReplicaResources(1, 0), said.append) as pool:
        assert pool.wait_up(partial(said.append, "waiting")).node == "here"
    assert said == ["waiting"] * bool(silent)


def test_only_a_replica_that_the_pool_was_not_begun_with_is_one_more() -> None:
    notes: list[str] = []
    group = ReplicaGroup(2, 2, ReplicaResources(1, 0), notes.append, ScriptedReplica)

    def come_up(replica: ReplicaHandle) -> None:
        for _ in ("introduced", "prepared"):
            group.receive(replica)

    first, second = group
    group.prepare([], [])
    come_up(first)
    group.begin(None)
    come_up(second)
    assert notes == [], "the run was said to be on two"
    group.replace(second)
    _, third = group
    come_up(third)
    assert notes == ["2 replicas now: one more on here"]
