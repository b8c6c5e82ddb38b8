"""The plan covers every draw of every image once, whatever the numbers."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from actors.noise import Role
from pipeline.plan import DrawPlan


@given(
    n0=st.integers(1, 300),
    n=st.integers(1, 3000),
    block_size=st.integers(1, 1200),
    images=st.lists(st.integers(0, 10_000), min_size=1, max_size=40, unique=True),
)
def test_every_draw_is_in_one_unit(n0: int, n: int, block_size: int, images: list[int]) -> None:
    plan = DrawPlan({Role.SELECTION: n0, Role.ESTIMATION: n}, block_size)
    shards = list(plan.shards(images))
    assert [image_id for shard in shards for image_id in shard] == images
    draws: Counter[tuple[Role, int]] = Counter()
    seen: set[tuple[Role, int, int]] = set()
    for shard in shards:
        for unit in plan.units(0, shard):
            assert unit.total_draws <= max(block_size, unit.draws)
            assert unit.draws <= block_size
            for image_id in unit.image_ids:
                assert (unit.role, image_id, unit.block) not in seen
                seen.add((unit.role, image_id, unit.block))
                draws[unit.role, image_id] += unit.draws
    assert all(draws[Role.SELECTION, image_id] == n0 and draws[Role.ESTIMATION, image_id] == n for image_id in images)
    assert len(seen) == len(images) * plan.blocks_per_image


def test_selection_of_many_images_shares_a_unit() -> None:
    plan = DrawPlan({Role.SELECTION: 100, Role.ESTIMATION: 10_000}, 1000)
    (shard,) = plan.shards(range(0, 200, 20))
    units = list(plan.units(3, shard))
    assert units[0].image_ids == tuple(range(0, 200, 20))
    assert units[0].role is Role.SELECTION
    assert [unit.image_ids for unit in units[1:11]] == [(0,)] * 10
    assert [unit.block for unit in units[1:11]] == list(range(10))
    assert len(units) == 1 + 10 * 10
