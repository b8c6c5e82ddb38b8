"""The pool on real Ray with replicas that compute nothing: which images a unit gets, what failures cost."""

import re
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from scripted_replica import KILLS, RAISES, STUCK, LateReplica, ScriptedReplica, SlowReplica, StuckReplica

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult

pytestmark = pytest.mark.usefixtures("ray_cluster")


def picture(value: float, pixels: int = 64) -> np.ndarray:
    return np.full((1, 1, pixels), value, np.float32)


def request_of(images: dict[int, np.ndarray], block: int = 0, only: int | None = None) -> UnitRequest:
    unit = WorkUnit(0, Role.ESTIMATION, tuple(Block(image_id, block, 5) for image_id in images))
    return UnitRequest(unit, images, only)


def results_of(requests: Sequence[UnitRequest], replicas: int = 1) -> tuple[list[UnitResult], list[str]]:
    """The results in the order of `requests`, and the notes on the way."""
    notes: list[str] = []
    with Pool(replicas, ReplicaResources(1, 0), notes.append, ScriptedReplica) as pool:
        pool.wait_up()
        pool.prepare([], [])
        left = deque(requests)
        results = list(pool.draw(lambda: left.popleft() if left else None, lambda unit: True))
    by_request = {id(result.request): result for result in results}
    assert len(by_request) == len(results) == len(requests)
    return [by_request[id(request)] for request in requests], notes


def labels(result: UnitResult) -> list[int]:
    assert result.drawn is not None, result.failure
    return result.drawn.counts.argmax(axis=1).tolist()


def test_units_for_the_sake_of_one_image_see_the_others_blank_and_no_one_else_does() -> None:
    """Blank images bear the numbers of real ones: the two must not meet in a call, or in the object store."""
    images = {number: picture(number) for number in range(1, 5)}
    blank = {number: picture(0) for number in images}
    singly = [request_of({**blank, only: images[only]}, only=only) for only in images]
    first, ordinary = [request_of(images, block) for block in range(3)], [request_of(images, block) for block in (3, 4)]
    results, _ = results_of([*first, *singly, *ordinary])
    expected = [[n if n == only else 0 for n in images] for only in images]
    assert [labels(result) for result in results] == [[1, 2, 3, 4]] * 3 + expected + [[1, 2, 3, 4]] * 2


def test_blank_images_are_not_kept_in_place_of_large_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.INLINE_BYTES", 10)
    images, blank = {1: picture(1), 2: picture(2)}, {1: picture(0), 2: picture(0)}
    requests = [request_of({**blank, only: images[only]}, only=only) for only in (1, 2)]
    results, _ = results_of([*requests, request_of(images, 1), request_of(images, 2)])
    assert [labels(result) for result in results] == [[1, 0], [0, 2], [1, 2], [1, 2]]


def test_large_images_travel_once_for_all_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    put: Counter[float] = Counter()

    def counted(image: np.ndarray) -> Any:
        put[float(image.flat[0])] += 1
        return stored(image)

    stored = ray.put
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.INLINE_BYTES", 256)
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.KEPT_IMAGES", 3)
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.ray.put", counted)
    large = {number: picture(number, 65) for number in range(1, 6)}
    small = picture(9, 64)
    requests = [request_of({number: image, 7: small}, block) for number, image in large.items() for block in range(30)]
    results, _ = results_of(requests)
    assert [labels(result) for result in results] == [[n, 9] for n in large for _ in range(30)]
    assert put == {1.0: 1, 2.0: 1, 3.0: 1, 4.0: 1, 5.0: 1}
    # Three are kept: the fourth that comes in between drives the first out.
    put.clear()
    results_of([request_of({number: large[number]}, block) for block, number in enumerate((1, 2, 3, 1, 4, 2, 1))])
    assert put == {1.0: 1, 2.0: 2, 3.0: 1, 4.0: 1}


def test_a_unit_that_fails_costs_the_others_of_its_call_nothing() -> None:
    requests = [request_of({number: picture(number % 10)}) for number in range(60)]
    requests[40] = request_of({40: picture(RAISES)})
    results, notes = results_of(requests)
    assert max(result.drawn.micro_batch for result in results if result.drawn) > 1  # calls of several units
    assert results[40].failure == "ValueError: scripted"
    assert [labels(result) for result in results if result.drawn] == [[n % 10] for n in range(60) if n != 40]
    assert "a work unit failed (ValueError: scripted): tried again alone, on another replica" in notes


def test_a_unit_that_kills_in_the_middle_of_a_call_is_found() -> None:
    requests = [request_of({number: picture(number % 10)}) for number in range(20)]
    requests[11] = request_of({11: picture(KILLS)})
    results, _ = results_of(requests, replicas=2)
    assert re.match(r"the replica died \d times drawing this alone", str(results[11].failure))
    assert [labels(result) for result in results if result.drawn] == [[n % 10] for n in range(20) if n != 11]


def prepared(pool: Pool, folder: Path, patience: float = 30) -> None:
    """The only way to give a replica the folder is as the name of a classifier."""
    pool.wait_up()
    pool.prepare([Sampling(BaseClassifierSpec(str(folder)), ComputeConfig("float32", False, 5), Gaussian(1.0), 0)], [])
    pool.wait_prepared(patience)


def test_of_little_work_something_is_left_for_a_replica_that_is_still_loading(tmp_path: Path) -> None:
    requests = deque(request_of({1: picture(1)}, block) for block in range(3))
    with Pool(2, ReplicaResources(1, 0), lambda note: None, LateReplica) as pool:
        prepared(pool, tmp_path, patience=0)
        results = list(pool.draw(lambda: requests.popleft() if requests else None, lambda unit: True))
    processes = Counter(result.drawn.micro_batch for result in results if result.drawn is not None)
    assert sorted(processes.values()) == [1, 2]


@pytest.mark.parametrize(("replicas", "give_up"), [(1, 2), (2, 1000)])
def test_units_of_a_silent_replica_are_drawn_elsewhere(
    replicas: int, give_up: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another replica; if there is none, by the one that takes its place when it is given up."""
    monkeypatch.setattr("raysmooth.pipeline.pool.stragglers.SLOW_SECONDS", 2.0)
    monkeypatch.setattr("raysmooth.pipeline.pool.dispatcher.GIVE_UP", give_up)
    pictures = [picture(number % 5) for number in range(40)]
    pictures[20] = picture(STUCK)
    requests, notes = [request_of({number: image}) for number, image in enumerate(pictures)], list[str]()
    left = deque(requests)
    with Pool(replicas, ReplicaResources(1, 0), notes.append, StuckReplica) as pool:
        prepared(pool, tmp_path)
        results = list(pool.draw(lambda: left.popleft() if left else None, lambda unit: True))
        telemetry = pool.telemetry
    assert Counter(id(result.request) for result in results) == Counter(id(request) for request in requests)
    found = {result.request.unit.image_ids[0]: labels(result) for result in results}
    assert found == {number: [number % 5 if number != 20 else 7] for number in range(40)}
    assert any("has not answered for" in note and "will be drawn elsewhere too" in note for note in notes)
    assert telemetry.again >= 1
    assert (telemetry.deaths >= 1) == (replicas == 1)


@pytest.mark.parametrize(("most", "reached"), [(2, 2), (100, 4)])
def test_the_pool_grows_while_there_is_room_and_work(most: int, reached: int, tmp_path: Path) -> None:
    """The cluster of these tests holds four. There is work until all are up, however long that takes, and after it."""
    requested, seen, notes = [0], [0], list[str]()

    def units_left() -> int:
        return 100 if max(seen) < reached else max(0, 150 - requested[0])

    def next_request() -> UnitRequest | None:
        if units_left() == 0:
            return None
        requested[0] += 1
        return request_of({1: picture(1)}, requested[0])

    with Pool(1, ReplicaResources(1, 0), notes.append, SlowReplica, most=most) as pool:
        prepared(pool, tmp_path, patience=0)
        results = []
        for result in pool.draw(next_request, lambda unit: True, units_left):
            results.append(result)
            seen.append(pool.telemetry.replicas)
    assert len(results) == requested[0] >= 150
    assert len({id(result.request) for result in results}) == len(results)
    assert max(seen) == reached
    assert all(note.endswith("one more on here") for note in notes if "replicas now" in note)


def test_a_pool_can_be_prepared_again_for_other_runs(tmp_path: Path) -> None:
    with Pool(1, ReplicaResources(1, 0), lambda note: None, ScriptedReplica) as pool:
        for value in (1, 2):
            prepared(pool, tmp_path)
            left = iter([request_of({1: picture(value)}), None])
            (result,) = pool.draw(partial(next, left, None), lambda unit: True)
            assert labels(result) == [value]
