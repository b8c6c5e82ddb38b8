"""The order in which a run's units are handed out."""

from collections.abc import Sequence

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.drawing.open_images import ShardRequests
from raysmooth.pipeline.drawing.unit_supply import UnitSupply, one_by_one
from raysmooth.pipeline.pool.tasks import UnitRequest

SHARDS = [range(0, 2), range(2, 4), range(4, 6), range(6, 8)]


def request(image_id: int, role: Role = Role.SELECTION) -> UnitRequest:
    return UnitRequest(WorkUnit(0, role, (Block(image_id, 0, 10),)), {image_id: np.zeros((1, 2, 2), np.float32)})


def supply(opened: list[Sequence[int]], unwanted: frozenset[int] = frozenset()) -> UnitSupply:
    """Of SHARDS, a unit for each image; of a resumed run that has the first round of images 2 to 5."""

    def open_shard(shard: Sequence[int]) -> ShardRequests:
        opened.append(shard)
        done = shard[0] in (2, 4)
        later = [request(image_id, Role.ESTIMATION) for image_id in shard] if done else []
        return ShardRequests([] if done else [request(image_id) for image_id in shard], later)

    return UnitSupply(SHARDS, open_shard, lambda unit: unit.blocks[0].image_id not in unwanted)


def handed_out(units: UnitSupply) -> list[tuple[int, Role]]:
    found = []
    while (one := units.next()) is not None:
        found.append((one.unit.blocks[0].image_id, one.unit.role))
    return found


def test_shards_are_opened_only_when_nothing_else_is_left() -> None:
    opened: list[Sequence[int]] = []
    units = supply(opened)
    assert opened == []
    for count in (1, 1):
        assert units.next() is not None
        assert len(opened) == count
    units.add([request(1, Role.ESTIMATION)])
    due = units.next()
    assert due is not None
    assert (due.unit.image_ids, due.unit.role, len(opened)) == ((1,), Role.ESTIMATION, 1)


def test_a_first_round_comes_before_what_its_shard_has_due() -> None:
    """Shards whose first rounds are done are opened until one has units; what they had due then follows."""
    later = [(image_id, Role.ESTIMATION) for image_id in range(2, 6)]
    first = [(image_id, Role.SELECTION) for image_id in (0, 1, 6)]
    assert handed_out(supply([])) == [*first, *later, (7, Role.SELECTION)]


def test_unwanted_units_are_dropped() -> None:
    units = supply([], unwanted=frozenset({0, 3, 6, 7}))
    assert [image_id for image_id, _ in handed_out(units)] == [1, 2, 4, 5]
    units.add([request(3), request(5)])
    assert [image_id for image_id, _ in handed_out(units)] == [5]
    assert units.next() is None


def test_a_failed_unit_is_tried_for_each_image_among_blank_ones() -> None:
    unit = WorkUnit(3, Role.ESTIMATION, (Block(1, 0, 5), Block(4, 0, 5), Block(1, 1, 5)))
    images = {1: np.ones((1, 2, 2), np.float32), 4: np.full((1, 2, 2), 0.5, np.float32)}
    alone = list(one_by_one(UnitRequest(unit, images)))
    assert [one.only for one in alone] == [1, 4]
    assert all(one.unit == unit for one in alone)
    assert [{image_id: image.max() for image_id, image in one.images.items()} for one in alone] == [
        {1: 1.0, 4: 0.0},
        {1: 0.0, 4: 0.5},
    ]
