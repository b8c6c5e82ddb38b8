"""The query log: what was committed is there after any kill, once, and what was in flight is charged."""

import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, SUPPORT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logged_queries import IDENTITY, OTHER_IDENTITY, answered, image, key, log_in

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries import query_log
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.queries.query_log import LoggedAnswers, QueryLog, read_identity
from raysmooth.storage.location import located

PRICE = 1_500_000


def read(out: Path) -> LoggedAnswers:
    return LoggedAnswers(located(folder(out)), IDENTITY.id)


def folder(out: Path) -> Path:
    return out / "queries" / f"identity={IDENTITY.id}"


def answer_all(log: QueryLog, keys: Iterable[DrawKey]) -> None:
    for one in keys:
        log.intend([one], PRICE)
        assert log.add(answered(one), PRICE, image_id=7)
    log.commit()


KEYS = [key(number, draw) for number in range(3) for draw in range(10)]


def test_answers_are_the_same_from_journal_and_part(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        answer_all(log, KEYS)
        before = {one: log.answer(one) for one in KEYS}
        assert before[KEYS[0]] == LoggedAnswer.of(answered(KEYS[0]), PRICE, 7)
        assert {one: read(tmp_path).answer(one) for one in KEYS} == before
        assert not list(folder(tmp_path).glob("part-*"))
    assert [file.name for file in folder(tmp_path).glob("part-*")] == ["part-00000000.parquet"]
    with log_in(tmp_path) as log:
        assert {one: log.answer(one) for one in KEYS} == before
        assert log.answers(image(1), Role.ESTIMATION) == {one.draw: before[one] for one in KEYS[10:20]}
        assert log.answers(image(1), Role.SELECTION) == {}
        assert log.images() == sorted(image(number) for number in range(3))
        assert log.missing(image(1), Role.ESTIMATION, range(8, 12)) == [10, 11]
        assert log.missing(image(1), Role.SELECTION, range(2)) == [0, 1]
        assert log.missing(image(9), Role.ESTIMATION, range(2)) == [0, 1]
        assert log.answer(key(1, 10)) is None
        assert log.answer(key(9, 0)) is None
        assert log.versions == ["v1"]
        assert log.charges == Charges(30, 0, 30 * PRICE)


def test_the_part_is_readable_by_others(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        answer_all(log, [key(0, 6), key(0, 1)])
    rows = pq.read_table(folder(tmp_path) / "part-00000000.parquet").to_pylist()
    assert [(row["draw"], row["status"], row["reason"]) for row in rows] == [
        (1, "answered", None), (6, "refused", "content filter")
    ]  # fmt: skip
    first = rows[0]
    assert first["tags"] == [
        {"name": "label 1", "score": 0.9, "parents": ["thing"]}, {"name": "é\n", "score": 0.1, "parents": []}
    ]  # fmt: skip
    assert first["sent"].timestamp() == pytest.approx(1.7e9 + 1 / 3, abs=1e-6)
    assert (first["image"], first["role"], first["price"], first["image_id"]) == (image(0), 1, PRICE, 7)


def test_versions_are_in_the_order_of_their_first_answers(tmp_path: Path) -> None:
    for session in range(2):
        with log_in(tmp_path) as log:
            for draw, (version, when) in enumerate([("v1", 5.0), (None, 0.0), ("v0", 6.0), ("v2", 3.0 - session)]):
                log.add(answered(key(session, draw), version=version, answered=when))
            assert log.versions == ["v2", "v1", "v0"]
    assert read(tmp_path).versions == ["v2", "v1", "v0"]


def test_odd_texts_and_scores_are_kept(tmp_path: Path) -> None:
    odd = (Tag("\ud800", math.inf), Tag("", -math.inf, ("\x00",)), Tag("nan", math.nan))
    with log_in(tmp_path) as log:
        log.add(answered(key(0, 0), tags=odd, raw="\udfff"))
        log.commit()
        fresh = read(tmp_path).answer(key(0, 0))
    for found in (fresh, read(tmp_path).answer(key(0, 0))):
        assert found is not None
        assert [tag.name for tag in found.tags] == ["\\ud800", "", "nan"]
        assert [tag.score for tag in found.tags[:2]] == [math.inf, -math.inf]
        assert math.isnan(found.tags[2].score)
        assert found.raw == "\\udfff"


def test_the_first_answer_stays_and_the_second_is_paid_for(tmp_path: Path) -> None:
    one = key(0, 1)
    with log_in(tmp_path) as log:
        answer_all(log, [one])
        log.intend([one], PRICE)
        assert not log.add(answered(one, tags=(Tag("another", 1.0),)), PRICE)
        log.commit()
        assert log.charges == read(tmp_path).charges == Charges(1, 1, 2 * PRICE)
    with log_in(tmp_path) as log:  # now it is in a part
        assert not log.add(answered(one, tags=(Tag("another", 1.0),)), PRICE)
        assert log.answer(one) == LoggedAnswer.of(answered(one), PRICE, 7)
    assert read(tmp_path).charges == Charges(1, 2, 3 * PRICE)


def test_what_was_in_flight_is_charged_for_ever(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.intend([key(0, draw) for draw in range(4)], PRICE)
    log.intend([key(0, 0)], PRICE)  # again, as the first request may have been billed
    log.abandon([key(0, 3)])
    log.commit()
    assert log.charges == read(tmp_path).charges == Charges(0, 4, 4 * PRICE)
    log.add(answered(key(0, 0)), PRICE)
    log.commit()
    del log  # killed: neither closed nor made a part
    for _ in range(2):
        assert read(tmp_path).charges == Charges(1, 3, 4 * PRICE)
        with log_in(tmp_path) as again:
            assert again.charges == Charges(1, 3, 4 * PRICE)
    with log_in(tmp_path) as again:
        answer_all(again, [key(0, 1), key(0, 2)])
        assert again.charges == Charges(3, 3, 6 * PRICE)
    assert read(tmp_path).charges == Charges(3, 3, 6 * PRICE)


def test_answers_of_others_are_not_charged(tmp_path: Path) -> None:
    theirs = replace(LoggedAnswer.of(answered(key(0, 1)), PRICE), attempts=0, sent=None, answered=None, pixels=None)
    with log_in(tmp_path) as log:
        assert log.add_answer(theirs)
        assert not log.add_answer(theirs)
        assert log.charges == Charges()
    assert read(tmp_path).answer(key(0, 1)) == theirs
    assert read(tmp_path).charges == Charges()


def test_a_full_journal_becomes_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_log, "LOCAL_JOURNAL", 5000)
    with log_in(tmp_path) as log:
        log.intend([key(5, 0)], PRICE)
        for start in range(0, 30, 5):
            answer_all(log, KEYS[start : start + 5])
            assert all(log.answer(one) for one in KEYS[: start + 5])
            assert log.missing(image(5), Role.ESTIMATION, [0]) == [0]
        assert len(list(folder(tmp_path).glob("part-*"))) > 2
        assert log.charges == read(tmp_path).charges == Charges(30, 1, 31 * PRICE)
    with log_in(tmp_path) as log:
        assert {one: log.answer(one) for one in KEYS} == {one: LoggedAnswer.of(answered(one), PRICE, 7) for one in KEYS}


@pytest.mark.parametrize("adds", [False, True])
def test_a_part_that_the_journal_still_has_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adds: bool
) -> None:
    """A kill, or a full disk, between the part and the next journal."""
    log = log_in(tmp_path)
    answer_all(log, KEYS[:5])
    log.intend([KEYS[5]], PRICE)

    def full(*_: object) -> None:
        raise RaysmoothError("stopped: no space is left")

    with monkeypatch.context() as patch:
        patch.setattr(log._journal, "begin", full)
        with pytest.raises(RaysmoothError, match="no space"):
            log.close()
    assert list(folder(tmp_path).glob("part-*"))
    assert read(tmp_path).charges == Charges(5, 1, 6 * PRICE)
    with log_in(tmp_path) as again:
        assert again.charges == Charges(5, 1, 6 * PRICE)
        if adds:
            answer_all(again, KEYS[5:7])
    expected = KEYS[: 7 if adds else 5]
    assert [one for one in KEYS if read(tmp_path).answer(one)] == expected
    assert read(tmp_path).charges.answered == len(expected)
    assert len(list(folder(tmp_path).glob("part-*"))) == 1


def test_a_commit_that_fails_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_in(tmp_path)
    log.add(answered(KEYS[0]))
    half: list[int] = []
    write = os.pwrite

    def full(descriptor: int, content: memoryview, at: int) -> int:
        if half:
            raise OSError(28, "No space left on device")
        half.append(at)
        return write(descriptor, content[:20], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(RaysmoothError, match="no space is left"):
            log.commit()
    log.add(answered(KEYS[1]))
    log.commit()
    assert [bool(read(tmp_path).answer(one)) for one in KEYS[:3]] == [True, True, False]
    log.close()


def test_nothing_is_written_once_another_process_writes(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RaysmoothError("another process")

    log = log_in(tmp_path)
    log._verify = refuse
    log.add(answered(KEYS[0]))
    with pytest.raises(RaysmoothError, match="another process"):
        log.close()
    assert read(tmp_path).answer(KEYS[0]) is None


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1))
def test_a_journal_that_is_cut_keeps_a_prefix(tmp_path: Path, share: float) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        log = log_in(whole)
        for one in KEYS[:8]:
            log.intend([one], PRICE)
            log.add(answered(one), PRICE, image_id=7)
        log.commit()
        log._journal.close()
    content = (folder(whole) / "journal.jsonl").read_bytes()
    head = content.index(b"\n") + 1
    cut = tmp_path / "cut"
    shutil.rmtree(cut, ignore_errors=True)
    shutil.copytree(whole, cut)
    (folder(cut) / "journal.jsonl").write_bytes(content[: head + round(share * (len(content) - head))])
    found = read(cut)
    there = [found.answer(one) for one in KEYS[:8]]
    kept = sum(one is not None for one in there)
    assert there[:kept] == [LoggedAnswer.of(answered(one), PRICE, 7) for one in KEYS[:kept]]
    assert found.charges.queries in (kept, kept + 1)
    with log_in(cut) as log:
        answer_all(log, KEYS[kept:10])
    assert [bool(read(cut).answer(one)) for one in KEYS[:11]] == [True] * 10 + [False]


def test_each_byte_of_a_log_is_guarded(tmp_path: Path) -> None:
    """A flipped byte in the journal or in a part ends in a refusal that names the file, never in another answer."""
    log = log_in(tmp_path)
    answer_all(log, KEYS[:4])
    log._make_part()
    answer_all(log, KEYS[4:8])
    log._journal.close()
    expected = {one: read(tmp_path).answer(one) for one in KEYS[:8]}
    dice = random.Random(0)
    for file in (folder(tmp_path) / "journal.jsonl", folder(tmp_path) / "part-00000000.parquet"):
        content = file.read_bytes()
        refused = 0
        for _ in range(60):
            wrong = bytearray(content)
            wrong[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            file.write_bytes(wrong)
            problem = ""
            try:
                found = read(tmp_path)
                assert {one: found.answer(one) for one in KEYS[:8]} == expected  # some bytes of Parquet mean nothing
            except RaysmoothError as refusal:
                problem = str(refusal)
            assert not problem or (file.name in problem and problem.isprintable())
            refused += bool(problem)
        assert refused == 60 or file.name != "journal.jsonl"
        file.write_bytes(content)


def test_files_of_another_log_are_refused(tmp_path: Path) -> None:
    for identity in (IDENTITY, OTHER_IDENTITY):
        with log_in(tmp_path, identity) as log:
            answer_all(log, KEYS[:3])
    own, other = folder(tmp_path), tmp_path / "queries" / f"identity={OTHER_IDENTITY.id}"
    part = "part-00000000.parquet"
    kept = {name: (own / name).read_bytes() for name in (part, "journal.jsonl", "manifest.json")}
    for name, problem in (
        (part, "was not written by this query log"),
        ("journal.jsonl", f"is of the identity {OTHER_IDENTITY.id}"),
        ("manifest.json", "is of other queries than its folder says"),
    ):
        shutil.copy(other / name, own / name)
        with pytest.raises(RaysmoothError, match=problem) as refusal:
            read_identity(located(own)), read(tmp_path)
        assert name in str(refusal.value)
        (own / name).write_bytes(kept[name])
    assert read_identity(located(own)) == IDENTITY
    for name, problem in (
        ("part-00000001.parquet", "was not written by this query log"),
        ("copy.parquet", "no part of a query log by its name"),
    ):
        shutil.copy(own / part, own / name)
        with pytest.raises(RaysmoothError, match=problem):
            read(tmp_path)
        (own / name).unlink()


def test_a_draw_in_two_parts_is_refused(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        answer_all(log, KEYS[:3])
    first = (folder(tmp_path) / "part-00000000.parquet").read_bytes()
    with log_in(tmp_path) as log:
        answer_all(log, KEYS[3:6])
    second = folder(tmp_path) / "part-00000001.parquet"
    table = pq.read_table(folder(tmp_path) / "part-00000000.parquet")
    origin = pq.read_schema(second).metadata
    pq.write_table(table.replace_schema_metadata(origin), second)
    with pytest.raises(RaysmoothError, match="another part holds too, as a copy would"):
        read(tmp_path)
    assert first


def test_a_journal_that_is_gone_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log_in(tmp_path) as log:
        answer_all(log, KEYS[:3])
    (folder(tmp_path) / "journal.jsonl").unlink()
    assert read(tmp_path).answer(KEYS[0]) is not None
    with log_in(tmp_path) as log:
        answer_all(log, KEYS[3:6])
    assert "journal.jsonl is gone" in capsys.readouterr().err
    assert all(read(tmp_path).answer(one) for one in KEYS[:6])


def test_a_part_that_is_gone_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for start in (0, 3):
        with log_in(tmp_path) as log:
            answer_all(log, KEYS[start : start + 3])
    (folder(tmp_path) / "part-00000000.parquet").unlink()
    with log_in(tmp_path) as log:
        assert log.missing(image(0), Role.ESTIMATION, range(6)) == [0, 1, 2]
    assert "lacks part 0" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{}\n", bytes(40)])
def test_a_journal_without_a_head_is_refused(tmp_path: Path, content: bytes) -> None:
    with log_in(tmp_path):
        pass
    (folder(tmp_path) / "journal.jsonl").write_bytes(content)
    with pytest.raises(RaysmoothError, match=r"journal\.jsonl begins with no head"):
        read(tmp_path)


WRITER = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(SUPPORT)!r}]
from logged_queries import answered, key, log_in
from raysmooth.pipeline.queries import query_log
query_log.LOCAL_JOURNAL = 6000
log = log_in(sys.argv[1])
number = int(sys.argv[2])
print("open", flush=True)
for draw in range(10_000):
    one = key(number, draw)
    log.intend([one], {PRICE})
    log.commit()
    print("sent", draw, flush=True)
    log.add(answered(one), {PRICE})
    log.commit()
    print("kept", draw, flush=True)
"""


@pytest.mark.processes
def test_a_kill_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    dice = random.Random(1)
    kept: list[DrawKey] = []
    before = Charges()
    for session in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(session)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(dice.randrange(2, 40))]
        writer.send_signal(signal.SIGKILL)
        lines += writer.communicate()[0].splitlines()
        done = [line.split() for line in lines if line.strip()]
        sent, said = (sum(line[0] == word for line in done) for word in ("sent", "kept"))
        kept += [key(session, draw) for draw in range(said)]
        found = read(tmp_path)
        assert all(found.answer(one) == LoggedAnswer.of(answered(one), PRICE) for one in kept)
        # The writer may have committed one more query, or answer, than it could say.
        if found.answer(key(session, said)) is not None:
            kept.append(key(session, said))
        assert found.charges.answered == len(kept)
        assert found.charges.queries - before.queries in (sent, sent + 1)
        assert 0 <= found.charges.unanswered - before.unanswered <= 1
        assert found.charges.cost == PRICE * found.charges.queries
        before = found.charges
    assert kept
    with log_in(tmp_path) as log:
        assert log.charges == before
