"""What Ray says of replicas' deaths, on real processes; and of those that would take a cluster or all memory."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import ray
from ray.core.generated.common_pb2 import ActorDeathCause, ActorDiedErrorContext  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import ActorTableData  # type: ignore[attr-defined]
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayError
from scripted_replica import SleepingReplica

from raysmooth.pipeline.pool.death_causes import DeathCause, cause_of_death


def cause_after(kill: Callable[[Any, int], None]) -> DeathCause:
    actor = ray.remote(SleepingReplica).options(num_cpus=1, max_restarts=0).remote("cpu", 1)
    process = ray.get(actor.identity.remote()).pid
    pending = actor.draw.remote([], [])
    while not psutil.Process(process).cmdline()[0].endswith(".draw"):  # Ray says there what it does
        time.sleep(0.05)
    kill(actor, process)
    return cause_of(actor, pending)


def cause_of(actor: Any, pending: Any, was_ready: bool = True) -> DeathCause:
    with pytest.raises(RayError) as raised:
        ray.get(pending, timeout=120)
    assert not isinstance(raised.value, GetTimeoutError)
    return cause_of_death(actor, raised.value, was_ready)


@pytest.mark.usefixtures("ray_cluster")
def test_what_ray_knows_of_a_death() -> None:
    assert cause_after(lambda _, process: os.kill(process, signal.SIGTERM)) is DeathCause.OUTSIDE
    assert cause_after(lambda actor, _: ray.kill(actor)) is DeathCause.OUTSIDE
    # The kernel's OOM killer, a native crash and a person at a shell leave the same trace.
    assert cause_after(lambda _, process: os.kill(process, signal.SIGKILL)) is DeathCause.UNKNOWN
    assert cause_after(lambda _, process: os.kill(process, signal.SIGSEGV)) is DeathCause.UNKNOWN


@pytest.mark.usefixtures("ray_cluster")
def test_a_constructor_that_raises_is_kept_apart_from_other_deaths_while_starting() -> None:
    actor = ray.remote(SleepingReplica).options(num_cpus=1, max_restarts=0).remote("no such device", 1)
    assert cause_of(actor, actor.identity.remote(), was_ready=False) is DeathCause.RAISED
    assert cause_of_death(actor, ActorDiedError(), was_ready=False) is DeathCause.STARTING


class Stored:
    """Stands for an actor of which Ray's table says `death`, None while it is alive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, death: ActorDeathCause | None) -> None:
        self._actor_id = object()
        state = ActorTableData.ALIVE if death is None else ActorTableData.DEAD
        table = ActorTableData(state=state, death_cause=death)
        monkeypatch.setattr(
            "raysmooth.pipeline.pool.death_causes.state.get_actor_info", lambda _: table.SerializeToString()
        )


def test_nodes_that_are_gone_and_the_memory_monitor_are_causes_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ActorDiedErrorContext(reason="NODE_DIED", error_message="The actor died because its node has died.")
    for death in (
        ActorDeathCause(actor_died_error_context=lost),
        ActorDeathCause(oom_context={}),
    ):
        assert cause_of_death(Stored(monkeypatch, death), ActorDiedError(), was_ready=True) is DeathCause.OUTSIDE
    assert cause_of_death(object(), OutOfMemoryError("the node runs low"), was_ready=True) is DeathCause.OUTSIDE


def test_of_an_actor_that_cannot_be_reached_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ActorUnavailableError("the connection was lost", None)
    assert cause_of_death(Stored(monkeypatch, None), error, was_ready=True) is DeathCause.UNKNOWN
    monkeypatch.setattr("raysmooth.pipeline.pool.death_causes.state.get_actor_info", lambda _: None)
    assert cause_of_death(Stored, error, was_ready=True) is DeathCause.UNKNOWN
