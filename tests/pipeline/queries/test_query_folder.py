"""<out>/queries: one process sends, others read; on this machine and in an object store."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import REPOSITORY, SUPPORT
from logged_queries import IDENTITY, OTHER_IDENTITY, answered, image, key
from object_store import Server, served

from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries import query_log
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.queries.query_folder import (
    QueryFolder,
    all_charges,
    all_logged_answers,
    logged_answers,
    query_progress,
)
from raysmooth.pipeline.queries.query_progress import QueryProgress, read_query_progress
from raysmooth.pipeline.store import run_lock
from raysmooth.pipeline.store.writer_process import WriterProcess
from raysmooth.storage.location import located

SENDER = f"""
import sys, time
sys.path[:0] = [{str(REPOSITORY)!r}, {str(SUPPORT)!r}]
from logged_queries import IDENTITY, answered, key
from raysmooth.pipeline.queries.query_folder import QueryFolder
from raysmooth.pipeline.store import run_lock
run_lock.LEASE_SECONDS, run_lock.SETTLE_SECONDS = 0.2, 0.1
log = QueryFolder(sys.argv[1]).log(IDENTITY)
log.intend([key(0, draw) for draw in range(5)], 1000)
for draw in range(3):
    log.add(answered(key(0, draw)), 1000)
log.commit()
print("sent", flush=True)
sys.stdin.readline()
"""

PROGRESS = QueryProgress(1.5, 18.5, 1000, 3, 12_000, 7, 9.5, 0.0015, WriterProcess.here())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(run_lock, "SETTLE_SECONDS", 0.1)
    return f"s3://results/{uuid.uuid4().hex}?endpoint_override={server.address}"


def sender(out: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER, out],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sent\n"
    return process


@pytest.mark.processes
def test_two_drivers_on_one_folder_are_refused(tmp_path: Path) -> None:
    process = sender(str(tmp_path))
    with pytest.raises(RaysmoothError, match=rf"the queries in .* are being written by process {process.pid} on"):
        QueryFolder(tmp_path)
    assert all_charges(tmp_path) == Charges(3, 2, 5000)  # anyone may read
    process.kill()
    process.communicate()
    with QueryFolder(tmp_path) as queries:
        log = queries.log(IDENTITY)
        assert queries.charges() == Charges(3, 2, 5000)
        assert log.missing(image(0), Role.ESTIMATION, range(5)) == [3, 4]


def test_two_drivers_on_one_bucket_are_refused_and_kills_lose_nothing(bucket: str) -> None:
    process = sender(bucket)
    with pytest.raises(RaysmoothError, match=rf"the queries in s3://.* are being written by process {process.pid} on"):
        QueryFolder(bucket)
    process.kill()
    process.communicate()
    with QueryFolder(bucket) as queries:
        assert queries.charges() == Charges(3, 2, 5000)
        log = queries.log(IDENTITY)
        assert log.missing(image(0), Role.ESTIMATION, range(5)) == [3, 4]
        log.add(answered(key(0, 3)), 1000)
    read = logged_answers(bucket, IDENTITY)
    assert [read.answer(key(0, draw)) for draw in range(5)] == [
        *(LoggedAnswer.of(answered(key(0, draw)), 1000) for draw in range(4)), None
    ]  # fmt: skip
    assert read.charges == Charges(4, 2, 6000)


def test_a_bucket_has_a_journal_that_becomes_parts(
    bucket: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_log, "UPLOADED_JOURNAL", 3000)
    name = bucket.removeprefix("s3://results/").partition("?")[0]
    with QueryFolder(bucket) as queries:
        log = queries.log(IDENTITY)
        for draw in range(20):
            log.intend([key(draw % 2, draw)], 1000)
            log.add(answered(key(draw % 2, draw)), 1000)
            log.commit()
            assert log.answer(key(draw % 2, draw)) == LoggedAnswer.of(answered(key(draw % 2, draw)), 1000)
        files = [one.rpartition("/")[2] for one in server.contents(name)]
        assert sum(one.startswith("part-") for one in files) > 2
        assert sum(len(content) for one, content in server.contents(name).items() if one.endswith("jsonl")) < 4500
    assert logged_answers(bucket, IDENTITY).charges == Charges(20, 0, 20_000)
    assert [*logged_answers(bucket, IDENTITY).answers(image(1), Role.ESTIMATION)] == [*range(1, 20, 2)]


def test_a_reader_finds_all_logs_and_needs_none(tmp_path: Path) -> None:
    assert all_logged_answers(tmp_path) == {}
    assert logged_answers(tmp_path, IDENTITY).answer(key(0, 0)) is None
    assert not list(tmp_path.iterdir())
    with QueryFolder(tmp_path) as queries:
        for identity in (IDENTITY, OTHER_IDENTITY):
            queries.log(identity).add(answered(key(0, 0)), 1)
    found = all_logged_answers(tmp_path)
    assert set(found) == {IDENTITY, OTHER_IDENTITY}
    assert {one.facts.get("sigma") for one in found} == {0.25, None}
    assert found[IDENTITY].images() == [image(0)]


def test_a_log_that_has_no_manifest_is_refused(tmp_path: Path) -> None:
    with QueryFolder(tmp_path) as queries:
        queries.log(IDENTITY)
    (tmp_path / "queries" / f"identity={IDENTITY.id}" / "manifest.json").unlink()
    with pytest.raises(RaysmoothError, match=r"manifest\.json is missing"):
        all_charges(tmp_path)


def test_a_reader_waits_for_no_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer makes two parts after the reader has read the journal."""
    with QueryFolder(tmp_path) as queries:
        log = queries.log(IDENTITY)
        log.add(answered(key(0, 0)))
        log.commit()
        read, times = query_log.read_journal, iter(range(9))

        def slow(file: object) -> object:
            found = read(located(str(file)))
            if next(times) == 0:
                for draw in (1, 2):
                    log._make_part()
                    log.add(answered(key(0, draw)))
                    log.commit()
                log._make_part()
            return found

        monkeypatch.setattr(query_log, "read_journal", slow)
        reader = logged_answers(tmp_path, IDENTITY)
        assert [reader.answer(key(0, draw)) is not None for draw in range(4)] == [True, True, True, False]


def test_progress_is_read_elsewhere(tmp_path: Path) -> None:
    assert query_progress(tmp_path) is None
    file = located(tmp_path / "queries" / "progress.json")
    with QueryFolder(tmp_path) as queries:
        for progress in (PROGRESS, replace(PROGRESS, left=None, queries_left=None, rate=None, price=None)):
            queries.write_progress(progress)
            found = query_progress(tmp_path)
            assert found is not None
            assert found[0] == progress
    file.write_atomic(b'{"spent": -1}')
    assert query_progress(tmp_path) is None
    with pytest.raises(RaysmoothError, match=r"progress\.json: spent is -1"):
        read_query_progress(file)
