"""Pooling by halves is max pooling."""

import pytest
import torch
from torch import nn

from raysmooth.actors.compute.pooling import MaxOfHalves, pool_by_halves


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (2, 3)])
def test_the_numbers_are_those_of_max_pooling(size: tuple[int, int], dtype: torch.dtype) -> None:
    x = torch.randn(3, 5, *size, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[0, 0, 0, 1], x[1, 1, 1, 0], x[2] = float("nan"), float("inf"), float("-inf")
    x = x.contiguous(memory_format=torch.channels_last)
    expected = nn.functional.max_pool2d(x, 2)
    assert torch.equal(MaxOfHalves()(x).nan_to_num(77), expected.nan_to_num(77))
    assert torch.equal(MaxOfHalves()(x).isnan(), expected.isnan())


def test_only_plain_pooling_is_replaced() -> None:
    plain = nn.MaxPool2d(2), nn.MaxPool2d((2, 2), stride=2)
    others = (
        nn.MaxPool2d(3), nn.MaxPool2d(2, 1), nn.MaxPool2d(2, padding=1), nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(2),
        nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, return_indices=True),
    )  # fmt: skip
    network = nn.Sequential(*plain, nn.Sequential(*others))
    assert pool_by_halves(network) == 2
    assert [type(layer) for layer in network[:2]] == [MaxOfHalves] * 2
    assert tuple(network[2]) == others
