"""A session keeps Ray and its replicas between calls, notices their end, and leaves nothing behind."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from conftest import REPOSITORY, SUPPORT
from digits_runs import counts_of, settings_of
from ray.exceptions import ActorHandleNotFoundError

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.ray_cluster.ray_session import IdleReplicas, RaySession, Session, open_session
from raysmooth.pipeline.runs.procedures import PROCEDURES


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    if (session := open_session()) is not None:
        session.close()


def certified(out: Path, show: bool = False, **changes: Any) -> Any:
    settings = settings_of(out, **{"classifier": "base_classifiers:Linear", "max": 5, **changes})
    return run_procedure(PROCEDURES["certify"], [settings], show_progress=show)


def test_idle_replicas_of_another_kind_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(ray, "kill", ended.append)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    idle = IdleReplicas()
    for kind, actor in (("1 CPU", "a"), ("2 CPUs", "b"), ("1 CPU", "c")):
        idle.keep(kind, actor)
    assert idle.take("1 CPU") == "a"
    assert ended == ["b"]
    assert idle.take("4 CPUs") is None
    assert ended == ["b", "c"]
    assert len(idle) == 0


@pytest.fixture
def own_ray(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A Ray that is only a word: "up" or not; `started` counts."""
    state: dict[str, Any] = {"up": False, "started": 0, "ended": None, "job": 0}
    connection = "raysmooth.pipeline.ray_cluster.ray_session._connection"
    monkeypatch.setattr(connection, lambda: ("session", f"{state['started']}.{state['job']}") if state["up"] else None)
    monkeypatch.setattr(ray, "is_initialized", lambda: state["up"])
    monkeypatch.setattr(ray, "shutdown", lambda: state.update(up=False, ended=None))
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.ray_session.ended_process", lambda: state["ended"])
    return state


def start(state: dict[str, Any]) -> Any:
    def begin(note: object) -> bool:
        state.update(up=True, started=state["started"] + 1)
        return True

    return begin


def test_ray_that_has_ended_starts_again(own_ray: dict[str, Any]) -> None:
    session = RaySession(start(own_ray), None, False, print)
    notes: list[str] = []
    with session.call(None, True, notes.append):
        assert own_ray["started"] == 1
    own_ray["ended"] = "raylet, process 7"
    with session.call(None, True, notes.append):
        assert (own_ray["up"], own_ray["started"]) == (True, 2)
    assert notes == ["raysmooth: the session's Ray has ended: another one starts"]
    session.close()
    assert not own_ray["up"]


@pytest.mark.parametrize("own", [False, True])
def test_after_the_programs_own_shutdown(own: bool, own_ray: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle replicas are those of a Ray that is left; a Ray that the program has started since is not the session's."""
    monkeypatch.setattr(ray, "kill", unknown_actor)
    session, notes = RaySession(start(own_ray), None, False, print), list[str]()
    session.idle.keep("1 CPU", "a")
    own_ray.update(up=own, job=1)
    with session.call(None, True, notes.append):
        assert (own_ray["started"], len(session.idle)) == (1 if own else 2, 0)
        assert session.where == ("this process's Ray" if own else "a local Ray")
    (note,) = notes
    assert note.endswith("this process's own is used from now on" if own else "another one starts")
    session.idle.keep("1 CPU", "b")
    session.close()
    assert own_ray["up"] == own


@pytest.fixture
def joined(own_ray: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A Ray that is joined; `raylet` is whether that of this machine runs, `answers` whether its head does."""
    own_ray.update(raylet=True, answers=True)

    class Raylet:
        def __init__(self, is_watched: bool = True) -> None:
            assert is_watched

        @property
        def ended(self) -> bool:
            return not own_ray["raylet"]

        def wait(self, leaving: threading.Event, seconds: float) -> None:
            leaving.wait(0.01)

        def leave(self) -> None: ...

        close = leave

    context = SimpleNamespace(gcs_address="10.0.0.1:6379")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    for module in ("ray_session", "ray_watch"):
        monkeypatch.setattr(f"raysmooth.pipeline.ray_cluster.{module}.Raylet", Raylet)
        monkeypatch.setattr(f"raysmooth.pipeline.ray_cluster.{module}.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.ray_session._answers", lambda: own_ray["answers"])
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.ray_watch.listener", lambda _: lambda: own_ray["answers"])
    return own_ray


def join(state: dict[str, Any], next_time: RaysmoothError | None = None) -> Any:
    def begin(note: object) -> bool:
        if state["started"] and next_time is not None:
            raise next_time
        state.update(up=True, raylet=True, started=state["started"] + 1)
        return False

    return begin


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        (None, "repeat the call to resume"),
        ("10.0.0.1:6379", "once a cluster answers there again, or end the session (session.close()) and open another"),
    ],
)
def test_a_joined_cluster_ends_during_a_call(address: str | None, remedy: str, joined: dict[str, Any]) -> None:
    session, notes = RaySession(join(joined), address, False, print), list[str]()
    session.idle.keep("1 CPU", "a")

    def call() -> None:
        with session.call(None, True, notes.append):
            joined["raylet"] = False
            time.sleep(200)

    with pytest.raises(RaysmoothError, match=r"^stopped: the Ray cluster at 10.0.0.1:6379 has ended") as raised:
        call()
    assert remedy in str(raised.value)
    assert (joined["up"], len(session.idle)) == (False, 0), "Ray would end this process"
    with session.call(None, True, notes.append):
        assert (joined["up"], joined["started"]) == (True, 2)
    assert notes == ["raysmooth: the session's Ray has ended: another one is joined"]
    session.close()


@pytest.mark.parametrize("sign", ["raylet", "answers"])
def test_a_joined_cluster_ends_between_calls(
    sign: str, joined: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none takes its place: the next call says so, and how to continue."""
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.ray_session._ASK_SECONDS", 0.01)
    refusal = RaysmoothError("no Ray cluster answers at 10.0.0.1:6379")
    session = RaySession(join(joined, refusal), "10.0.0.1:6379", False, print)
    joined[sign] = False
    while joined["up"]:
        time.sleep(0.01)
    message = r"^the session's Ray has ended, so end the session \(session.close\(\)\) and open another one: "
    with pytest.raises(RaysmoothError, match=message) as raised, session.call(None, True, print):
        pass
    assert str(raised.value).endswith("no Ray cluster answers at 10.0.0.1:6379")
    session.close()


def unknown_actor(actor: object) -> None:
    raise ActorHandleNotFoundError("of another cluster")


def test_a_session_on_the_programs_ray_outlives_it(own_ray: dict[str, Any]) -> None:
    own_ray["up"] = True
    session = RaySession(start(own_ray), None, False, print)
    own_ray["up"] = False
    with session.call(None, True, print):
        assert own_ray["started"] == 1
    own_ray["job"] = 1  # shut down and started again by the program
    session.close()
    assert own_ray["up"], "it is not the session's"


def test_the_end_of_ray_between_calls_is_noticed(own_ray: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would end this process after a minute."""
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.ray_session.LOOK_SECONDS", 0.01)
    session = RaySession(start(own_ray), None, False, print)
    own_ray["ended"] = "gcs_server, process 7"
    while own_ray["up"]:
        pass
    session.close()


def test_one_session_at_a_time(own_ray: dict[str, Any]) -> None:
    first = Session(start(own_ray), None, False, print)
    with Session(start(own_ray), None, False, print) as again:
        assert own_ray["started"] == 1
        assert repr(again) == "<raysmooth session on a local Ray, 0 idle replicas>"
    assert open_session() is not None, "it was open before"
    with pytest.raises(RaysmoothError, match=r"^a session is open on a local Ray: end it first"):
        Session(start(own_ray), "10.0.0.1:6379", False, print)
    session = open_session()
    assert session is not None
    with (
        pytest.raises(RaysmoothError, match=r"^--address 10.0.0.1:6379: the open session is on a local Ray: "),
        session.call("10.0.0.1:6379", True, print),
    ):
        pass
    with session.call("local", True, print):
        pass
    again.close()
    first.close()
    assert not own_ray["up"]
    assert repr(first) == "<raysmooth session: closed>"
    with pytest.raises(RaysmoothError, match=r"^this session is closed: call raysmooth.session\(\) again$"), first:
        pass


def test_a_call_that_needs_the_resources_ends_idle_replicas(
    own_ray: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(ray, "kill", ended.append)
    session = RaySession(start(own_ray), None, False, print)
    session.idle.keep("1 CPU", "a")
    with session.call(None, True, print):
        assert not ended
    with session.call(None, False, print):
        assert ended == ["a"]
    session.close()


def pids(session: Session) -> list[int]:
    """Of the processes of the idle replicas."""
    return sorted(one.pid for one in ray.get([actor.identity.remote() for _, actor in session._session.idle._idle]))


@pytest.mark.usefixtures("ray_cluster")
def test_replicas_are_kept_and_draw_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = {"classifier": "digits_cnn", "classifier_weights": str(tmp_path / "w.safetensors"), "replicas": 1}
    raysmooth.train_classifier(
        dataset="digits", classifier="digits_cnn", objective="clean", epochs=1, max=64, progress=False,
        out=networks["classifier_weights"],
    )  # fmt: skip
    with raysmooth.session(progress=False) as session:
        certified(tmp_path / "kept", **networks, sigma=0.25)
        first = pids(session)
        certified(tmp_path / "kept", show=True, **networks, sigma=0.5)
        said = capsys.readouterr().err
        assert "certify: 1 run on 1 replica" in said
        assert "waiting for Ray" not in said
        assert pids(session) == first
        own = certified(tmp_path / "own", sigma=0.5, replicas=1)  # code of the user's own: its replica is replaced
        assert pids(session) != first
    assert ray.is_initialized(), "the session has not started it"
    for sigma in (0.25, 0.5):
        certified(tmp_path / "fresh", **networks, sigma=sigma)
    assert len(own) == 5
    kept, fresh = (sorted(map(str, counts_of(tmp_path / name).to_dict("records"))) for name in ("kept", "fresh"))
    assert len(kept) > 20
    assert kept == fresh


SCRIPT = """
import time
import psutil
import raysmooth

SETTINGS = dict(dataset="digits", classifier="base_classifiers:Linear", max=4, n=60, n0=20, replicas=1)

def processes(name):
    return [one for one in psutil.Process().children(recursive=True) if one.name().startswith(name)]

session = raysmooth.session("local")
for sigma, ends in ((0.25, "gcs_server"), (0.5, None)):
    assert len(raysmooth.certify(sigma=sigma, **SETTINGS)) == 4
    if ends is not None:
        (one,) = processes(ends)
        one.kill()
        while processes("raylet") or processes("gcs_server"):
            time.sleep(0.1)  # until the session has noticed it
session.close()
assert not processes("raylet")
raysmooth.session("local")
print("done")
"""


@pytest.mark.processes
def test_a_local_ray_is_killed_and_ends_with_the_program(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), str(REPOSITORY)])
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("done\n")
    assert ended.stderr.count("raysmooth: the session's Ray has ended: another one starts") == 1
