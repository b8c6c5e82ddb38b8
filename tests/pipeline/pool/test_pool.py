"""The pool on real Ray with replicas that compute nothing: which images a unit is drawn with, what a failure costs."""

from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from scripted_replica import KILLS, RAISES, STUCK, LateReplica, ScriptedReplica, SlowReplica, StuckReplica

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.base_classifier import BaseClassifierSpec
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.replica import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.pool.cluster import ReplicaResources
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult

pytestmark = pytest.mark.usefixtures("ray_cluster")


def picture(value: float, pixels: int = 64) -> np.ndarray:
    return np.full((1, 1, pixels), value, np.float32)


def order_of(images: dict[int, np.ndarray], block: int = 0, only: int | None = None) -> UnitRequest:
    unit = WorkUnit(0, Role.ESTIMATION, tuple(Block(image_id, block, 5) for image_id in images))
    return UnitRequest(unit, images, only)


def outcomes_of(orders: Sequence[UnitRequest], replicas: int = 1) -> tuple[list[UnitResult], list[str]]:
    """In the order of `orders`, and the notes on the way."""
    notes: list[str] = []
    with Pool(replicas, ReplicaResources(1, 0), notes.append, ScriptedReplica) as pool:
        pool.wait_up()
        pool.prepare([], [])
        left = deque(orders)
        outcomes = list(pool.draw(lambda: left.popleft() if left else None, lambda unit: True))
    by_order = {id(outcome.order): outcome for outcome in outcomes}
    assert len(by_order) == len(outcomes) == len(orders)
    return [by_order[id(order)] for order in orders], notes


def labels(outcome: UnitResult) -> list[int]:
    assert outcome.drawn is not None, outcome.failure
    return outcome.drawn.counts.argmax(axis=1).tolist()


def test_units_for_the_sake_of_one_image_see_the_others_blank_and_no_one_else_does() -> None:
    """Blank images bear the numbers of real ones: the two must not meet in a call, or in the object store."""
    images = {number: picture(number) for number in range(1, 5)}
    blank = {number: picture(0) for number in images}
    singly = [order_of({**blank, only: images[only]}, only=only) for only in images]
    first, ordinary = [order_of(images, block) for block in range(3)], [order_of(images, block) for block in (3, 4)]
    outcomes, _ = outcomes_of([*first, *singly, *ordinary])
    expected = [[n if n == only else 0 for n in images] for only in images]
    assert [labels(outcome) for outcome in outcomes] == [[1, 2, 3, 4]] * 3 + expected + [[1, 2, 3, 4]] * 2


def test_blank_images_are_not_kept_in_place_of_large_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.INLINE_BYTES", 10)
    images, blank = {1: picture(1), 2: picture(2)}, {1: picture(0), 2: picture(0)}
    orders = [order_of({**blank, only: images[only]}, only=only) for only in (1, 2)]
    outcomes, _ = outcomes_of([*orders, order_of(images, 1), order_of(images, 2)])
    assert [labels(outcome) for outcome in outcomes] == [[1, 0], [0, 2], [1, 2], [1, 2]]


def test_large_images_travel_once_for_all_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    put: Counter[float] = Counter()

    def counted(image: np.ndarray) -> Any:
        put[float(image.flat[0])] += 1
        return stored(image)

    stored = ray.put
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.INLINE_BYTES", 256)
    monkeypatch.setattr("raysmooth.pipeline.pool.image_transfer.KEPT_IMAGES", 3)
    monkeypatch.setattr("raysmooth.pipeline.pool.pool.ray.put", counted)
    large = {number: picture(number, 65) for number in range(1, 6)}
    small = picture(9, 64)
    orders = [order_of({number: image, 7: small}, block) for number, image in large.items() for block in range(30)]
    outcomes, _ = outcomes_of(orders)
    assert [labels(outcome) for outcome in outcomes] == [[n, 9] for n in large for _ in range(30)]
    assert put == {1.0: 1, 2.0: 1, 3.0: 1, 4.0: 1, 5.0: 1}
    # Three are kept: the fourth that comes in between drives the first out.
    put.clear()
    outcomes_of([order_of({number: large[number]}, block) for block, number in enumerate((1, 2, 3, 1, 4, 2, 1))])
    assert put == {1.0: 1, 2.0: 2, 3.0: 1, 4.0: 1}


def test_a_unit_that_fails_costs_the_others_of_its_call_nothing() -> None:
    orders = [order_of({number: picture(number % 10)}) for number in range(60)]
    orders[40] = order_of({40: picture(RAISES)})
    outcomes, notes = outcomes_of(orders)
    assert max(outcome.drawn.micro_batch for outcome in outcomes if outcome.drawn) > 1  # calls of several units
    assert outcomes[40].failure == "ValueError: scripted"
    assert [labels(outcome) for outcome in outcomes if outcome.drawn] == [[n % 10] for n in range(60) if n != 40]
    assert notes == ["a work unit failed (ValueError: scripted): tried again alone, on another replica"]


def test_a_unit_that_kills_in_the_middle_of_a_call_is_found() -> None:
    orders = [order_of({number: picture(number % 10)}) for number in range(20)]
    orders[11] = order_of({11: picture(KILLS)})
    outcomes, _ = outcomes_of(orders, replicas=2)
    assert str(outcomes[11].failure).startswith("the replica died 3 times drawing this alone")
    assert [labels(outcome) for outcome in outcomes if outcome.drawn] == [[n % 10] for n in range(20) if n != 11]


def test_of_little_work_something_is_left_for_a_replica_that_is_still_loading(tmp_path: Path) -> None:
    orders = deque(order_of({1: picture(1)}, block) for block in range(3))
    with Pool(2, ReplicaResources(1, 0), lambda note: None, LateReplica) as pool:
        pool.wait_up()
        # The folder goes by the only way there is to a replica: as the name of a classifier.
        base = BaseClassifierSpec(str(tmp_path))
        pool.prepare([Sampling(base, ComputeConfig("float32", False, 5), Gaussian(1.0), seed=0)], [])
        pool.wait_prepared()
        outcomes = list(pool.draw(lambda: orders.popleft() if orders else None, lambda unit: True))
    processes = Counter(outcome.drawn.micro_batch for outcome in outcomes if outcome.drawn is not None)
    assert sorted(processes.values()) == [1, 2]


def prepared(pool: Pool, folder: Path, patience: float = 30) -> None:
    """The folder goes by the only way there is to a replica: as the name of a classifier."""
    pool.wait_up()
    pool.prepare([Sampling(BaseClassifierSpec(str(folder)), ComputeConfig("float32", False, 5), Gaussian(1.0), 0)], [])
    pool.wait_prepared(patience)


@pytest.mark.parametrize("replicas", [1, 2])
def test_what_a_silent_replica_holds_is_drawn_elsewhere(
    replicas: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another one; where there is none, by the one that takes its place when it is given up."""
    monkeypatch.setattr("raysmooth.pipeline.pool.stragglers.SLOW_SECONDS", 1.0)
    monkeypatch.setattr("raysmooth.pipeline.pool.pool.GIVE_UP", 2)
    pictures = [picture(number % 5) for number in range(40)]
    pictures[20] = picture(STUCK)
    orders, notes = [order_of({number: image}) for number, image in enumerate(pictures)], list[str]()
    left = deque(orders)
    with Pool(replicas, ReplicaResources(1, 0), notes.append, StuckReplica) as pool:
        prepared(pool, tmp_path)
        outcomes = list(pool.draw(lambda: left.popleft() if left else None, lambda unit: True))
        told = pool.telemetry
    assert Counter(id(outcome.order) for outcome in outcomes) == Counter(id(order) for order in orders)
    found = {outcome.order.unit.image_ids[0]: labels(outcome) for outcome in outcomes}
    assert found == {number: [number % 5 if number != 20 else 7] for number in range(40)}
    assert "has not answered for" in notes[0]
    assert told.again >= 1
    assert told.deaths == (1 if replicas == 1 else 0)


@pytest.mark.parametrize(("most", "reached"), [(2, 2), (100, 4)])
def test_the_pool_grows_while_there_is_room_and_work(most: int, reached: int, tmp_path: Path) -> None:
    """The cluster of these tests holds four."""
    left, notes = [150], list[str]()

    def next_order() -> UnitRequest | None:
        left[0] -= 1
        return order_of({1: picture(1)}, left[0]) if left[0] >= 0 else None

    with Pool(1, ReplicaResources(1, 0), notes.append, SlowReplica, most=most) as pool:
        prepared(pool, tmp_path, patience=0)
        outcomes, seen = [], []
        for outcome in pool.draw(next_order, lambda unit: True, lambda: max(0, left[0])):
            outcomes.append(outcome)
            seen.append(pool.telemetry.replicas)
    assert len(outcomes) == 150
    assert max(seen) == reached
    assert all(note.endswith("one more on here") for note in notes)
