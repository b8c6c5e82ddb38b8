"""Classifiers that answer differently to equal input, and those whose answer depends on the batch, are noticed."""

from collections.abc import Callable

import pytest
import torch
from base_classifiers import Fragile, Labels, Linear
from torch import nn
from torch.nn import functional

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.steadiness import BY_BATCH, RANDOM, alike, unsteadiness

IMAGE = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
LINEAR = Linear()


def found(classifier: object) -> str | None:
    return unsteadiness(DenoisedClassifier(None, nn.Identity(), classifier).eval(), IMAGE)


@pytest.mark.parametrize(
    "classifier",
    [
        LINEAR,
        digits_cnn(),
        Labels(),
        nn.Sequential(nn.Dropout(), LINEAR),  # off in eval mode
        nn.Sequential(digits_cnn(), nn.BatchNorm1d(10)),
        lambda batch: LINEAR(batch) * float("nan"),
        lambda batch: LINEAR(batch) / 0.0,
        lambda batch: LINEAR(batch).half(),
        lambda batch: LINEAR(batch) * (1 + 1e-5 * torch.rand(len(batch), 10)),  # rounding is not chance
        lambda batch: (50 * LINEAR(batch) + torch.randint(2, (len(batch), 10))).to(torch.int16),  # nor are last digits
        lambda batch: LINEAR(batch.mul_(0.5)),  # changes its input, which is its own
        Fragile(),
    ],
)
def test_functions_of_their_input(classifier: object) -> None:
    assert found(classifier) is None


@pytest.mark.parametrize(
    "classifier",
    [
        lambda batch: LINEAR(functional.dropout(batch, 0.3, training=True)),
        lambda batch: LINEAR(batch + 0.2 * torch.randn_like(batch)),
        lambda batch: LINEAR(batch + 0.2 * torch.randn(1, 1, 8, 8)),  # the same for a whole batch
        lambda batch: LINEAR(batch) + torch.randn(10),
        lambda batch: (LINEAR(batch) + torch.randn(len(batch), 10)).numpy(),
    ],
)
def test_random_ones(classifier: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    assert found(classifier) == RANDOM


@pytest.mark.parametrize(
    "classifier",
    [
        lambda batch: LINEAR(functional.batch_norm(batch, None, None, training=True)),
        lambda batch: LINEAR(batch - batch.mean(dim=0)),
        lambda batch: LINEAR(batch) * len(batch) + 1,
        lambda batch: LINEAR(batch).softmax(dim=0),
    ],
)
def test_those_that_look_at_their_neighbours(classifier: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert found(classifier) == BY_BATCH


def test_a_model_that_fails_is_left_to_those_who_draw_with_it() -> None:
    def two(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) != 2:
            raise ValueError("two at a time")
        return LINEAR(batch)

    assert found(two) is None


def test_numbers_that_are_not_finite_are_compared() -> None:
    nan, inf = float("nan"), float("inf")
    row = torch.tensor([nan, inf, -inf, 100.0, 0.0])
    assert alike(row, row.clone(), 1e-3)
    assert alike(row, torch.tensor([nan, inf, -inf, 100.05, 0.05]), 1e-3)
    for other in ([nan, inf, -inf, 100.0, 1.0], [0.0, inf, -inf, 100.0, 0.0], [nan, -inf, -inf, 100.0, 0.0]):
        assert not alike(row, torch.tensor(other), 1e-3)
    assert alike(torch.full((2,), nan), torch.full((2,), nan), 1e-3)
