"""The plan covers every draw of every image once, whatever the numbers."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block
from raysmooth.pipeline.runs.draw_plan import DrawPlan


@settings(deadline=None)
@given(
    n0=st.integers(1, 300),
    n=st.integers(1, 3000),
    block_size=st.integers(1, 1200),
    batch_size=st.integers(1, 5000),
    images=st.lists(st.integers(0, 10_000), min_size=1, max_size=40, unique=True),
)
def test_every_draw_is_in_one_unit(n0: int, n: int, block_size: int, batch_size: int, images: list[int]) -> None:
    plan = DrawPlan({Role.SELECTION: n0, Role.ESTIMATION: n}, block_size, batch_size)
    shards = list(plan.shards(images))
    assert [image_id for shard in shards for image_id in shard] == images
    draws: Counter[tuple[Role, int]] = Counter()
    seen: set[tuple[Role, int, int]] = set()
    for shard in shards:
        for unit in plan.first_units(0, shard):
            assert unit.draws <= max(block_size, batch_size)
            for block in unit.blocks:
                assert block.draws <= block_size
                assert (unit.role, block.image_id, block.index) not in seen
                seen.add((unit.role, block.image_id, block.index))
                draws[unit.role, block.image_id] += block.draws
    assert all(draws[Role.SELECTION, image_id] == n0 and draws[Role.ESTIMATION, image_id] == n for image_id in images)


def test_selection_of_many_images_shares_a_unit() -> None:
    plan = DrawPlan({Role.SELECTION: 100, Role.ESTIMATION: 10_000}, 1000, 250)
    (shard,) = plan.shards(range(0, 200, 20))
    units = list(plan.first_units(3, shard))
    assert units[0].image_ids == tuple(range(0, 200, 20))
    assert units[0].role is Role.SELECTION
    assert [unit.blocks for unit in units[1:11]] == [(Block(0, block, 1000),) for block in range(10)]
    assert len(units) == 1 + 10 * 10


def test_a_batch_larger_than_a_block_is_filled_with_several() -> None:
    plan = DrawPlan({Role.SELECTION: 100, Role.ESTIMATION: 10_000}, 1000, 4000)
    (shard,) = plan.shards(range(40))
    units = list(plan.first_units(0, shard))
    assert [unit.draws for unit in units] == [4000] * 101


def test_what_does_not_fill_a_block_is_drawn_together() -> None:
    plan = DrawPlan({Role.SELECTION: 100, Role.ESTIMATION: 10_250}, 1000, 250)
    (shard,) = plan.shards(range(10))
    rests = [unit for unit in plan.first_units(0, shard) if unit.role is Role.ESTIMATION and len(unit.blocks) > 1]
    assert [unit.image_ids for unit in rests] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert {(block.index, block.draws) for unit in rests for block in unit.blocks} == {(10, 250)}


def test_later_rounds_continue_where_an_image_stopped() -> None:
    plan = DrawPlan({Role.SELECTION: 100}, 1000, 250)
    assert plan.blocks(7, 2300, blocks_before=3) == [Block(7, 3, 1000), Block(7, 4, 1000), Block(7, 5, 300)]


def test_little_work_for_a_slow_network_is_shared_by_replicas() -> None:
    """A network that computes two images at a time: 32 such batches at most are gathered into a unit."""
    plan = DrawPlan({Role.SELECTION: 20, Role.ESTIMATION: 80}, 1000, 2)
    (shard,) = plan.shards([0, 1, 2])
    units = list(plan.first_units(0, shard))
    assert [[block.draws for block in unit.blocks] for unit in units] == [[20, 20, 20], [80], [80], [80]]
