"""The query pool on a real Ray: counts, order, money, and what a log spares. The API is scripted, and keeps a bill."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from scripted_queries import billed, counts, draw, expected, images, pool, requests, spec, task

from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.query_pool import asking_replicas

pytestmark = pytest.mark.usefixtures("kept_replicas")

FAST = 2000.0
"""Pictures a second, so that the rate that throttling leaves is no wait."""


def test_counts_are_those_of_the_draws_in_the_order_of_requests(tmp_path: Path) -> None:
    asked, wanted = spec(tmp_path), requests(images(5))
    with task(tmp_path, asked) as one, pool([one]) as opened:
        results = draw(opened, wanted)
        assert [result.request for result in results] == wanted
        for result in results:
            assert np.array_equal(counts(result), expected(result.request, asked))
        assert (opened.telemetry.queries, opened.telemetry.throttled) == (125, 0)
        assert one.log.charges.answered == 125
        assert one.log.charges.dollars == 1.25
        assert (opened.telemetry.charged, opened.telemetry.dollars) == (125, 1.25)
    assert billed(tmp_path) == 125


def test_what_is_logged_is_not_paid_for_again(tmp_path: Path) -> None:
    asked, pictures = spec(tmp_path), images(3)

    def no_start() -> Any:
        raise AssertionError("a replica was started")

    for draws, bill in ((25, 75), (25, 75), (42, 126), (5, 126)):
        with task(tmp_path, asked) as one, pool([one]) as opened:
            if bill == billed(tmp_path):
                opened._replicas._start = no_start
            results = draw(opened, requests(pictures, draws))
            for result in results:
                assert np.array_equal(counts(result), expected(result.request, asked))
        assert billed(tmp_path) == bill


@pytest.mark.parametrize("concurrency", [1, 5])
def test_troubles_change_no_count(tmp_path: Path, concurrency: int) -> None:
    """Throttled, reset and refused at random; answers come in any order, from two replicas."""
    asked = spec(
        tmp_path,
        "throttle=0.2,reset=0.1,unavailable=0.1,refuse=0.2",
        concurrency=concurrency,
    )
    wanted = requests(images(3), draws=13)
    with task(tmp_path, asked) as one, pool([one], replicas=2, rate=FAST) as opened:
        results = draw(opened, wanted)
        assert [result.request for result in results] == wanted
        for result in results:
            assert np.array_equal(counts(result), expected(result.request, asked, refuse=0.2))
        assert opened.telemetry.throttled > 0
        assert billed(tmp_path) == one.log.charges.queries == opened._purchases.budget.spent.queries
        assert one.log.charges.answered == 39
        assert opened._purchases.budget.reserved == 0


def test_answers_at_random_are_counted_by_the_number_of_their_draw(tmp_path: Path) -> None:
    """Whenever they arrive: a row of counts holds the answers that the log has for its draws."""
    asked, wanted = spec(tmp_path, "at_random=true,throttle=0.3", concurrency=7), requests(images(3), draws=13)
    with task(tmp_path, asked) as one, pool([one], replicas=2, rate=FAST) as opened:
        for result in draw(opened, wanted):
            for place, block in enumerate(result.request.unit.blocks):
                digest = image_digest(result.request.images[block.image_id])
                answers = one.log.answers(digest, Role.ESTIMATION)
                codes = one.draw_codes([answers[block.index * 10 + draw] for draw in range(block.draws)])
                assert counts(result)[place].tolist() == np.bincount(codes, minlength=6).tolist()
    assert billed(tmp_path) == 39


def test_a_reference_is_asked_once_an_image_and_before_its_units_count(tmp_path: Path) -> None:
    asked, pictures = spec(tmp_path), images(3)
    wanted = [*requests(pictures, 10, Role.SELECTION), *requests(pictures, 20)]
    with task(tmp_path, asked, reference=True) as one, pool([one], replicas=2) as opened:

        def is_there(result: UnitResult) -> None:
            image = next(iter(result.request.images.values()))
            assert one.reference_log is not None
            assert one.reference_log.answer(DrawKey(image_digest(image), Role.REFERENCE, 0)) is not None

        for result in draw(opened, wanted, is_there):
            assert np.array_equal(counts(result), expected(result.request, asked))
        assert one.reference_log is not None
        assert one.reference_log.charges.answered == 3
    assert billed(tmp_path) == 3 + 30 + 60


def test_runs_that_ask_the_same_share_their_answers(tmp_path: Path) -> None:
    """Two runs with one log, as with two label rules, open at the same time; and one with other noise."""
    asked, other, pictures = spec(tmp_path), spec(tmp_path, sigma=0.25), images(2)
    with task(tmp_path, asked) as one, task(tmp_path, other) as third, pool([one, one, third]) as opened:
        wanted = [*requests(pictures), *requests(pictures, run=1), *requests(pictures, run=2)]
        results = draw(opened, wanted)
        for result in results:
            assert np.array_equal(
                counts(result), expected(result.request, (asked, asked, other)[result.request.unit.run])
            )
    assert billed(tmp_path) == 2 * 50


def test_units_that_are_not_wanted_any_more_are_neither_sent_nor_delivered(tmp_path: Path) -> None:
    asked = spec(tmp_path, "latency=0.01", concurrency=1)
    wanted, seen = requests(images(40), draws=5), list[int]()

    def is_wanted(unit: WorkUnit) -> bool:
        return len(seen) < 3 or unit.image_ids[0] % 2 == 0

    with task(tmp_path, asked) as one, pool([one]) as opened:
        results = draw(opened, wanted, lambda result: seen.append(result.request.unit.image_ids[0]), is_wanted)
        assert [result.request.unit.image_ids[0] for result in results] == [0, 1, 2, *range(4, 40, 2)]
        assert len(opened._units._draws) == 0
    assert 21 * 5 <= billed(tmp_path) <= 21 * 5 + 2


def test_the_budget_is_never_exceeded_and_the_same_command_resumes(tmp_path: Path) -> None:
    asked, pictures = spec(tmp_path, "reset=0.2,throttle=0.1", concurrency=4), images(4)
    for limit in (30, 60, 400):
        done: list[UnitResult] = []
        with task(tmp_path, asked) as one, pool([one], max_queries=limit, rate=FAST) as opened:
            if limit < 400:
                with pytest.raises(
                    RaysmoothError, match=rf"the budget is spent \({limit} queries, \${limit / 100:.2f}"
                ):
                    draw(opened, requests(pictures), done.append)
                assert billed(tmp_path) <= limit
                assert one.log.charges.queries == limit
            else:
                for result in draw(opened, requests(pictures), done.append):
                    assert np.array_equal(counts(result), expected(result.request, asked))
                assert len(done) == 4
                assert one.log.charges.queries == billed(tmp_path)


def test_a_failure_stops_at_once_with_its_line(tmp_path: Path) -> None:
    asked, notes = spec(tmp_path, "fail_after=20,latency=0.005", concurrency=4), list[str]()
    with (
        task(tmp_path, asked) as one,
        pool([one], notes=notes) as opened,
        pytest.raises(RaysmoothError, match=r"stopped: scripted: the account is exhausted; rerun the same command"),
    ):
        draw(opened, requests(images(9)))
    with task(tmp_path, asked) as one:
        assert one.log.charges.answered == one.log.charges.queries == billed(tmp_path)
        assert 20 <= billed(tmp_path) <= 24


def test_a_changed_version_stops_and_names_both(tmp_path: Path) -> None:
    asked = spec(tmp_path, "change_after=30", concurrency=2)
    changed = r"stopped: the model behind scripted:change_after=30 has changed from version 1 to 2"
    for message in (changed, "are of several versions of the model behind .*, 1 and 2"):
        with (
            task(tmp_path, asked) as one,
            pool([one]) as opened,
            pytest.raises(RaysmoothError, match=message) as stopped,
        ):
            draw(opened, requests(images(9)))
        assert "begin again with another --out" in str(stopped.value)
        assert "resume" not in str(stopped.value)
    assert 31 <= billed(tmp_path) <= 36


def test_an_answer_of_another_version_completes_no_unit(tmp_path: Path) -> None:
    """Not even where it was the last that was missing, of the last unit."""
    asked, done = spec(tmp_path, "change_after=22", concurrency=4), list[UnitResult]()
    with (
        task(tmp_path, asked) as one,
        pool([one]) as opened,
        pytest.raises(RaysmoothError, match="has changed from version 1 to 2"),
    ):
        draw(opened, requests(images(1)), done.append)
    assert done == []


def test_references_are_of_the_same_version_as_draws(tmp_path: Path) -> None:
    """An image's own answer is logged by one version, and its draws would come from the next."""
    pictures = images(3)
    for sigma, change in ((0.5, 40), (0.25, 1)):
        asked = spec(tmp_path, f"change_after={change}", sigma)
        with task(tmp_path, asked, reference=True) as one, pool([one]) as opened:
            if change == 40:
                draw(opened, requests(pictures, 5))
            else:
                with pytest.raises(RaysmoothError, match="has changed from version 1 to 2"):
                    draw(opened, requests(pictures, 5))
    with (
        task(tmp_path, asked, reference=True) as one,
        pool([one]) as opened,
        pytest.raises(RaysmoothError, match="of another than those it goes with, 1 and 2"),
    ):
        draw(opened, requests(pictures, 5))


def test_without_patience_the_draw_stays_open_and_the_rest_is_logged(tmp_path: Path) -> None:
    asked = spec(tmp_path, "unavailable=1", concurrency=2, patience=0.0)
    with (
        task(tmp_path, asked) as one,
        pool([one]) as opened,
        pytest.raises(RaysmoothError, match="gives no answer: scripted error, and so for 0 s in 1 requests"),
    ):
        draw(opened, requests(images(2)))
    with task(tmp_path, asked) as one:
        assert one.log.charges.queries == billed(tmp_path) == 0


def test_offline_uses_the_log_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, pictures = spec(tmp_path), images(3)
    with task(tmp_path, asked) as one, pool([one]) as opened:
        draw(opened, requests(pictures, 20))
    for used in ("wait", "get", "put", "remote"):
        monkeypatch.setattr(ray, used, None)
    done: list[UnitResult] = []
    with task(tmp_path, asked) as one, pool([one], offline=True) as opened:
        assert len(draw(opened, requests(pictures, 20))) == 3
        wanted = [*requests(pictures, 20), *requests(images(4, seed=1), 25), *requests(pictures, 23)]
        with pytest.raises(RaysmoothError, match=r"--offline: the query logs lack 109 answers"):
            draw(opened, wanted, done.append)
        assert len(done) == 3


def test_ctrl_c_pays_nothing_twice(tmp_path: Path) -> None:
    asked, notes = spec(tmp_path, "latency=0.05", concurrency=4), list[str]()

    def interrupt(_: UnitResult) -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        task(tmp_path, asked) as one,
        pool([one], notes=notes) as opened,
    ):
        draw(opened, requests(images(6)), interrupt)
    assert notes[0].startswith("waiting for ")
    with task(tmp_path, asked) as one:
        assert one.log.charges.unanswered == 0
        assert one.log.charges.answered == billed(tmp_path) > 25
        with pool([one]) as opened:
            for result in draw(opened, requests(images(6))):
                assert np.array_equal(counts(result), expected(result.request, asked))
    assert billed(tmp_path) == 150


def test_the_rate_is_kept(tmp_path: Path) -> None:
    """By the clock of the log: no second has more than the rate, but for the slack of a timer."""
    asked = spec(tmp_path, concurrency=8)
    with task(tmp_path, asked) as one, pool([one], replicas=2, rate=40.0) as opened:
        draw(opened, requests(images(2)))
        sent = sorted(
            answer.sent / 1e6
            for image in one.log.images()
            for answer in one.log.answers(image, Role.ESTIMATION).values()
            if answer.sent is not None
        )
        assert opened.telemetry.bucket.rate == 40.0
    assert len(sent) == 50
    assert sent[-1] - sent[0] >= 49 / 40 - 0.1


def test_a_replica_that_cannot_be_prepared_is_a_refusal(tmp_path: Path) -> None:
    asked = spec(tmp_path, denoiser="dncnn", denoiser_weights=str(tmp_path / "none.safetensors"))
    with (
        task(tmp_path, asked) as one,
        pool([one]) as opened,
        pytest.raises(RaysmoothError, match=r"none\.safetensors"),
    ):
        draw(opened, requests(images(1)))


def test_a_killed_replica_costs_what_was_in_flight_and_changes_no_count(tmp_path: Path) -> None:
    asked, notes = spec(tmp_path, "latency=0.1", concurrency=4), list[str]()
    wanted, killed = requests(images(3)), list[int]()

    def kill(_: UnitResult) -> None:
        asking = [replica.place.pid for replica in opened._replicas if replica.place is not None and replica.held]
        if asking and not killed:
            killed.append(asking[0])
            os.kill(asking[0], signal.SIGKILL)

    with task(tmp_path, asked) as one, pool([one], replicas=2, notes=notes) as opened:
        for result in draw(opened, wanted, kill):
            assert np.array_equal(counts(result), expected(result.request, asked))
        assert opened.telemetry.deaths == len(killed) == 1
        assert 75 <= billed(tmp_path) <= one.log.charges.queries <= 75 + 8
        assert opened._purchases.budget.spent.queries == one.log.charges.queries
        again = opened.telemetry.again > 0  # unless all that it had been given had just been answered
    assert sum("in flight, perhaps paid for, will be sent again" in note for note in notes) == again


def test_what_had_arrived_from_a_replica_that_died_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that no one had read yet are logged, and not asked for again."""
    asked, notes, killed = spec(tmp_path, concurrency=4), list[str](), list[int]()
    wanted = requests(images(2), draws=4)
    with task(tmp_path, asked) as one, pool([one], notes=notes) as opened:
        wait = opened._wait

        def killing() -> None:
            (replica,) = opened._replicas
            if not killed and len(replica.calls) == 2 and replica.place is not None:
                ray.wait([call.events.completed() for call in replica.calls], num_returns=2)
                killed.append(replica.place.pid)
                os.kill(replica.place.pid, signal.SIGKILL)
                replica.asked = replica.handle.place.remote()
                ray.wait([replica.asked])  # its death is known before its answers are read
            wait()

        monkeypatch.setattr(opened, "_wait", killing)
        for result in draw(opened, wanted):
            assert np.array_equal(counts(result), expected(result.request, asked))
        assert len(killed) == opened.telemetry.deaths == 1
        assert billed(tmp_path) == one.log.charges.answered == one.log.charges.queries == 8
    assert not any("will be sent again" in note for note in notes)


def test_replicas_that_die_again_and_again_are_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = spec(tmp_path, "latency=5", concurrency=4)
    with task(tmp_path, asked) as one, pool([one], replicas=2) as opened:
        wait = opened._wait

        def killing() -> None:
            for replica in opened._replicas.ready:
                if replica.held and replica.place is not None:
                    with suppress(ProcessLookupError):  # killed before, and not missed yet
                        os.kill(replica.place.pid, signal.SIGKILL)
            wait()

        monkeypatch.setattr(opened, "_wait", killing)
        monkeypatch.setattr(asking_replicas, "MOST_DEATHS", 2)
        with pytest.raises(RaysmoothError, match="2 replicas died one after the other without an answer"):
            draw(opened, requests(images(6)))
        monkeypatch.undo()
