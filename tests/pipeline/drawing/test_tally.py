"""The tally of an image, by hand."""

import numpy as np
import pytest

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.work_unit import Block
from raysmooth.pipeline.certification.sampling_rule import Fixed
from raysmooth.pipeline.certification.sequential_test import Decide
from raysmooth.pipeline.drawing.tally import CorruptCounts, Tally
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.store.run_store import CountedBlock

RULE = Decide(10, 300, 0.001, Gaussian(0.5), 0.3)
PLAN = DrawPlan(RULE.first, block_size=60, batch_size=20)


def counted(role: Role, number: int, draws: int, top: int, invalid: int = 0, label: int = 1) -> CountedBlock:
    counts = np.zeros(3, np.int64)
    counts[label], counts[0] = top, draws - top - invalid
    return CountedBlock(7, role, number, draws, counts, invalid, seconds=0.5)


def opened() -> Tally:
    """With the first round open: 10 selection draws and 100 estimation draws, in blocks of 60 and 40."""
    tally = Tally(np.zeros((1, 2, 2), np.float32), 1)
    assert tally.open_round(7, RULE.first, PLAN) == {
        Role.SELECTION: [Block(7, 0, 10)],
        Role.ESTIMATION: [Block(7, 0, 60), Block(7, 1, 40)],
    }
    return tally


def test_a_round_is_complete_when_each_of_its_blocks_has_arrived() -> None:
    tally = opened()
    for role, number, draws in ((Role.ESTIMATION, 1, 40), (Role.SELECTION, 0, 10), (Role.ESTIMATION, 0, 60)):
        assert not tally.round_is_complete
        assert tally.lacks((role, number))
        tally.add(counted(role, number, draws, draws // 2))
        assert not tally.lacks((role, number))
    assert tally.round_is_complete
    assert not tally.lacks((Role.ESTIMATION, 2))


def test_the_next_round_continues_behind_the_last() -> None:
    tally = opened()
    for role, number, draws in ((Role.SELECTION, 0, 10), (Role.ESTIMATION, 0, 60), (Role.ESTIMATION, 1, 40)):
        tally.add(counted(role, number, draws, 3 * draws // 4))
    need = tally.next_need(RULE)
    assert need == {Role.SELECTION: 10, Role.ESTIMATION: 144}
    assert (tally.draws, tally.blocks) == (
        {Role.SELECTION: 10, Role.ESTIMATION: 100},
        {Role.SELECTION: 1, Role.ESTIMATION: 2},
    )
    assert tally.counts[Role.ESTIMATION].tolist() == [25, 75, 0]
    assert tally.seconds == 1.5
    assert need is not None
    blocks = tally.open_round(7, need, PLAN)
    assert blocks == {Role.ESTIMATION: [Block(7, 2, 44)]}
    (unit,) = (one.unit for one in tally.requests(7, blocks, 5, PLAN))
    assert (unit.run, unit.role, unit.blocks) == (5, Role.ESTIMATION, (Block(7, 2, 44),))


def test_blocks_of_a_later_round_wait_for_it() -> None:
    """As a resumed run finds them."""
    tally = opened()
    tally.add(counted(Role.ESTIMATION, 2, 44, 30))
    for role, number, draws in ((Role.SELECTION, 0, 10), (Role.ESTIMATION, 0, 60), (Role.ESTIMATION, 1, 40)):
        tally.add(counted(role, number, draws, 3 * draws // 4))
    need = tally.next_need(RULE)
    assert need is not None
    assert tally.draws[Role.ESTIMATION] == 100
    tally.open_round(7, need, PLAN)
    assert tally.round_is_complete


def test_an_image_with_invalid_draws_gets_no_more() -> None:
    tally = opened()
    for role, number, draws in ((Role.SELECTION, 0, 10), (Role.ESTIMATION, 0, 60), (Role.ESTIMATION, 1, 40)):
        tally.add(counted(role, number, draws, draws // 2, invalid=2))
    assert tally.next_need(RULE) is None
    assert tally.invalid == 6


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (counted(Role.SELECTION, 0, 11, 5), "block 0 of 11 selection draws, not 10"),
        (CountedBlock(7, Role.SELECTION, 0, 10, np.array([3, 4, 0]), 1, 0.5), "8 labels of block 0, not 10"),
    ],
)
def test_counts_of_another_run_are_refused(block: CountedBlock, reason: str) -> None:
    rule = Fixed(10, 20, 0.001, Gaussian(0.5))
    tally = Tally()
    tally.open_round(7, {Role.SELECTION: 10}, PLAN)
    tally.add(block)
    with pytest.raises(CorruptCounts, match=reason):
        tally.next_need(rule)
