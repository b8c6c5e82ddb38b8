"""Retries for object stores: temporary errors are waited out, permanent ones refused at once."""

from collections.abc import Callable

import pytest
from object_store import BUCKET, Line, Server, free_port, served

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage import object_store
from raysmooth.storage.object_store import ObjectStore, Unreachable, describe
from raysmooth.storage.store_urls import bucket_of


def reader(store: ObjectStore) -> Callable[[], bytes]:
    return lambda: store.filesystem.open_input_stream(f"{BUCKET}/x").read()


def test_a_lost_connection_is_waited_for_and_reported_once(
    server: Server, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("x", b"content")
    store, _ = bucket_of(f"s3://{BUCKET}?endpoint_override=http://127.0.0.1:{line.port}")
    assert store.patiently(reader(store)) == b"content"
    line.cut()
    attempts = []

    def attempt() -> bytes:
        attempts.append(len(attempts))
        if len(attempts) == 3:
            line.connect()
        return reader(store)()

    assert store.patiently(attempt) == b"content"
    assert len(attempts) >= 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith(f"raysmooth: cannot reach s3://{BUCKET} (NETWORK_CONNECTION: ")
    assert said[0].endswith("): trying again for 5 minutes")
    assert said[1].startswith(f"raysmooth: s3://{BUCKET} answers again after ")


def test_a_caller_that_does_not_wait_learns_when_to_try_again(server: Server, line: Line) -> None:
    server.put("x", b"content")
    store, _ = bucket_of(f"s3://{BUCKET}?endpoint_override=http://127.0.0.1:{line.port}")
    store.once(reader(store))
    line.cut()
    with pytest.raises(Unreachable) as lost:
        store.once(reader(store))
    assert 0.25 <= lost.value.pause <= 0.75  # half a second, plus or minus half


def test_a_store_that_stays_unreachable_is_a_clear_stop(
    server: Server, line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(object_store, "PATIENCE", 1.0)
    server.put("x", b"content")
    store, _ = bucket_of(f"s3://{BUCKET}?endpoint_override=http://127.0.0.1:{line.port}")
    store.once(reader(store))
    line.cut()
    with pytest.raises(
        RaysmoothError, match=r"^stopped: s3://results could not be reached for \d+ s \(NETWORK.*: rerun the same"
    ):
        store.patiently(reader(store))
    monkeypatch.setattr(object_store.time, "sleep", None)
    with pytest.raises(RaysmoothError, match="stopped"):  # cleaning up afterwards does not wait again
        store.patiently(reader(store))


def test_a_store_that_never_answered_is_waited_for_less(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(object_store, "FIRST_PATIENCE", 0.5)
    store, _ = bucket_of(f"s3://{BUCKET}?endpoint_override=http://127.0.0.1:{free_port()}")
    with pytest.raises(RaysmoothError, match=r"^s3://results cannot be reached \(.*\): write another URL"):
        store.patiently(reader(store))


def test_pauses_grow_with_the_time_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, pauses = ObjectStore("s3://b", None, ""), [0.0], []
    monkeypatch.setattr(object_store.time, "monotonic", lambda: clock[0])

    def away() -> None:
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation: gone")

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(object_store.time, "sleep", pause)
    store.once(lambda: None)
    with pytest.raises(RaysmoothError, match="stopped"):
        store.patiently(away)
    assert 300 < clock[0] < 301
    assert pauses[0] <= 0.75
    assert max(pauses) <= 45
    assert 10 < len(pauses) < 60
    assert len(set(pauses)) == len(pauses)  # random: processes do not retry in step


@pytest.mark.parametrize(
    ("said", "code", "passes"),
    [
        ("When x: AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 28, Timeout", "", True),
        ("When x: AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.", "", True),
        ("When x: AWS Error UNKNOWN (HTTP status 503) during PutObject operation: busy", "", True),
        ("When x: AWS Error UNKNOWN (HTTP status 400) during PutObject operation: ExpiredToken", "UNKNOWN", False),
        ("When x: AWS Error ACCESS_DENIED during PutObject operation: No response body.", "no access", False),
        ("When x: AWS Error UNKNOWN (HTTP status 403) during PutObject operation: no", "no access", False),
        ("When x: AWS Error NO_SUCH_BUCKET during PutObject operation: none", "there is no such bucket", False),
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted)", "", True),
        ("google::cloud::Status(PERMISSION_DENIED: no)", "no access", False),
        ("something else", "something else", False),
    ],
)
def test_only_temporary_errors_are_retried(said: str, code: str, passes: bool) -> None:
    def fails() -> None:
        raise OSError(said)

    with pytest.raises(Unreachable if passes else RaysmoothError, match=code if not passes else None):
        ObjectStore("s3://b", None, "credentials are").once(fails)
    assert describe(OSError(said))[1]


@pytest.mark.processes
def test_wrong_credentials_are_refused_at_once_with_their_sources() -> None:
    with served(INITIAL_NO_AUTH_ACTION_COUNT="2") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "wrong")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        store, _ = bucket_of(f"s3://{BUCKET}?endpoint_override={server.address}")
        patch.setattr(object_store.time, "sleep", None)  # it does not wait
        with pytest.raises(RaysmoothError, match=r"^s3://results: no access \(.*\): credentials are those of AWS_ACC"):
            store.patiently(reader(store))
