"""Ensembles made fast: each member folded and with its last layer in float32; K-consensus with the passes saved."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from raysmooth.actors.compute import consensus
from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.consensus import PARTS
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.networks.ensemble import Ensemble, MeanDenoiser, NormalizeEach
from raysmooth.actors.models.networks.normalize import Normalize

CPU = torch.device("cpu")
BATCH = 32


def network(seed: int) -> nn.Module:
    """One of several that mostly agree."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip
    torch.manual_seed(seed)
    made[1].running_mean.normal_(0, 0.02)  # type: ignore[union-attr]
    made[-1].weight.data.normal_(0, 1, generator=torch.Generator().manual_seed(3))
    made[-1].weight.data += 0.05 * torch.randn(4, 32)
    made.eval().requires_grad_(False)
    made[-1].bias -= made(pixels(64, seed=7)).mean(dim=0)
    return made


def pixels(count: int = BATCH, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.rand(count, 2, 1, 1, generator=generator) + 0.3 * torch.rand(count, 2, 6, 6, generator=generator)
    return made.contiguous(memory_format=torch.channels_last)


def model(agreeing: int | None = None, own: bool = False, denoiser: nn.Module | None = None) -> DenoisedClassifier:
    ensemble = Ensemble([network(seed) for seed in range(4)], "abcd", agreeing, own)
    layers = [Normalize((0.1 * k, 0.5), (0.5, 1.0)) for k in range(4)]
    return DenoisedClassifier(denoiser, NormalizeEach(layers) if own else layers[3], ensemble).eval()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("agreeing", [None, 2])
def test_the_fast_ensemble_is_the_ensemble(agreeing: int | None, own: bool) -> None:
    plain = model(agreeing, own)
    fast = fast_network(plain, ComputeConfig("float32", False, BATCH), CPU)
    batch = pixels()
    expected = plain(batch)
    assert len(expected.unique()) > 1
    assert torch.equal(fast(batch), expected)
    members = fast._network.classifier.members
    assert all(isinstance(member[1], nn.Identity) for member in members), "BatchNorms are folded"


def test_in_bfloat16_each_last_layer_stays_in_float32() -> None:
    torch.manual_seed(9)
    denoiser = MeanDenoiser([nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)]).eval()
    plain = model(own=True, denoiser=denoiser)
    fast = fast_network(plain, ComputeConfig("bfloat16", False, BATCH), CPU)
    labels = fast(pixels())
    assert (labels == plain(pixels())).float().mean() > 0.9
    for member in fast._network.classifier.members:
        assert member[0].weight.dtype == torch.bfloat16
        assert member[-1].weight.dtype == torch.float32
    assert all(member.weight.dtype == torch.bfloat16 for member in fast._network.denoiser.members)
    assert fast._network.normalize.layers[0].mean.dtype == torch.float32


def test_consensus_saves_passes_and_depends_on_no_other_draw() -> None:
    plain = model(agreeing=2)
    batch = pixels()
    _, agreed = plain.classifier.head(plain.normalize(batch))
    assert 0 < int((~agreed).sum()) < BATCH / 2
    fast = fast_network(plain, ComputeConfig("float32", False, BATCH), CPU)
    labels = fast(batch)
    sizes: list[list[int]] = [[] for _ in range(4)]
    for kept, member in zip(sizes, fast._network.classifier.members, strict=True):
        member.register_forward_hook(lambda _, inputs, __, kept=kept: kept.append(len(inputs[0])))
    assert torch.equal(fast(batch), labels)
    part = BATCH // PARTS
    parts = -(-int((~agreed).sum()) // part)
    assert sizes == [[BATCH], [BATCH], [part] * parts, [part] * parts]

    # The same draws beside others, of which more go through all members.
    restless = batch.clone()
    restless[: BATCH // 2] = batch[~agreed][:1]
    assert torch.equal(fast(restless)[BATCH // 2 :], labels[BATCH // 2 :])


def test_both_steps_of_consensus_are_compiled_for_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler in whose place stands what it promises: compiled code takes the shape that it was compiled for."""
    compiled_for: list[torch.Size] = []

    def compiled(compute: Callable[[torch.Tensor], Any], batch: torch.Tensor) -> Callable[[torch.Tensor], Any]:
        compiled_for.append(batch.shape)

        def fast(given: torch.Tensor) -> Any:
            assert given.shape == batch.shape
            assert given.stride() == batch.stride()
            return compute(given)

        return fast

    monkeypatch.setattr(consensus, "compiled", compiled)
    plain = model(agreeing=2)
    fast = fast_network(plain, ComputeConfig("float32", True, BATCH), CPU)
    for seed in (0, 1):
        assert torch.equal(fast(pixels(seed=seed)), plain(pixels(seed=seed)))
    assert compiled_for == [(BATCH, 2, 6, 6), (BATCH // PARTS, 2, 6, 6)]
