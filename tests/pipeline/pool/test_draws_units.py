"""Every class that the pool is given as an actor has the methods and parameters that the pool uses."""

import inspect
import sys

import pytest
from conftest import REPOSITORY
from scripted_replica import LateReplica, ScriptedReplica, SlowReplica, StuckReplica

from raysmooth.actors.replica.replica import Replica
from raysmooth.pipeline.pool.draws_units import DrawsUnits

METHODS = ("__init__", "identity", "choose", "prepare", "measure", "draw")


def parameters(actor: type, method: str) -> list[str]:
    """Without the one that Ray adds, for its tracing, to a class that has been an actor in this process."""
    return [name for name in inspect.signature(getattr(actor, method)).parameters if name != "_ray_trace_ctx"]


def refused(actor: type) -> list[str]:
    return [name for name in METHODS if parameters(actor, name) != parameters(DrawsUnits, name)]


@pytest.mark.parametrize("actor", [Replica, ScriptedReplica, LateReplica, StuckReplica, SlowReplica])
def test_actors_have_the_methods_of_the_protocol(actor: type) -> None:
    assert refused(actor) == []


def test_so_has_the_benchmarks_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from stub_replica import FastStubReplica, StubReplica

    assert refused(StubReplica) == refused(FastStubReplica) == []
    sys.modules.pop("stub_replica")


def test_another_parameter_is_noticed() -> None:
    class Other(ScriptedReplica):
        def measure(self, run: int, seconds: float) -> float:  # type: ignore[override]
            return 0.0

    assert refused(Other) == ["measure"]
    assert {name for name in vars(DrawsUnits) if not name.startswith("_")} | {"__init__"} == set(METHODS)
