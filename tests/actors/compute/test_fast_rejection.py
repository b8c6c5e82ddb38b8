"""Fast networks with a rejector: its BatchNorms and the classifier's are folded, and outcomes stay the same."""

from typing import Any

import pytest
import torch
from rejector_weights import rejector_network
from sklearn.datasets import load_digits
from torch import nn

from raysmooth.actors.compute import fast_network as fast_networks
from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.compute.pooling import MaxOfHalves
from raysmooth.actors.compute.probe import ComputeRequest, choose_compute
from raysmooth.actors.models.base_classifier import INVALID, DenoisedClassifier
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.networks.normalize import Normalize
from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.rejection_rules import LowConfidence, NetworkRejector, Rejector
from raysmooth.actors.models.stage_features import StageFeatures, find_taps

CPU, BATCH = torch.device("cpu"), 100


class Small(nn.Module):
    """Two stages with BatchNorms, the second one used in a loop: its features are those of the last call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool, self.second = nn.MaxPool2d(2), nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.linear = nn.Linear(8 * 16, 10)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.first(batch))
        for _ in range(2):
            x = self.second(x).relu()
        return self.linear(x.flatten(1))


NORMALIZE = Normalize((0.3,), (0.4,))


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    bunch = load_digits()
    return torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None], torch.tensor(bunch.target)


@pytest.fixture(scope="module")
def model(digits: tuple[torch.Tensor, torch.Tensor]) -> DenoisedClassifier:
    """A denoiser, `Small` and a rejector of its errors, all trained briefly on noisy digits."""
    pixels, labels = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser, classifier = DENOISERS["dncnn"].build(depth=3, width=4, channels=1), Small()
        taps = find_taps(classifier, pixels[:2])
        rejector = RejectorNetwork(taps, 10, (1, 8, 8), 4, 10)
        assert [(tap.module, tap.call) for tap in rejector.taps] == [("first", 0), ("second", 1)]
        for stage, steps in (([denoiser, classifier], 100), ([rejector], 60)):
            optimizer = torch.optim.Adam(nn.ModuleList(stage).parameters(), 1e-2)
            for _ in range(steps):
                chosen = torch.randint(1400, (128,))
                noisy = pixels[chosen] + 0.5 * torch.randn(128, 1, 8, 8)
                with StageFeatures(classifier, rejector.taps) as stages, torch.set_grad_enabled(rejector not in stage):
                    denoised = denoiser(noisy)
                    logits, features = classifier(NORMALIZE(denoised)), stages.features
                loss = nn.functional.cross_entropy(logits, labels[chosen])
                if rejector in stage:
                    found = logits.argmax(dim=1)
                    own = rejector(denoised, features).gather(1, found[:, None])[:, 0]
                    wrong = (found != labels[chosen]).float()
                    loss = nn.functional.binary_cross_entropy_with_logits(own, wrong)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            nn.ModuleList(stage).eval().requires_grad_(False)
    return DenoisedClassifier(denoiser, NORMALIZE, classifier, NetworkRejector(rejector)).eval()


@pytest.fixture(scope="module")
def pixels(digits: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    images = digits[0][1400:1500].repeat_interleave(20, dim=0)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + 0.5 * noise).contiguous(memory_format=torch.channels_last)


def with_rejector(model: DenoisedClassifier, rejector: Rejector | None) -> DenoisedClassifier:
    return DenoisedClassifier(model.denoiser, model.normalize, model.classifier, rejector).eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def answered(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(batch).clone() for batch in pixels.split(BATCH)])


@pytest.mark.parametrize(
    ("precision", "compiled"),
    [
        ("float32", False),
        ("bfloat16", False),
        pytest.param("bfloat16", True, marks=pytest.mark.processes),  # the C++ compiler's
    ],
)
def test_outcomes_agree_with_those_of_the_plain_network(
    precision: str, compiled: bool, model: DenoisedClassifier, pixels: torch.Tensor
) -> None:
    expected = answered(model, pixels)
    network = fast_network(model, ComputeConfig(precision, compiled, BATCH), CPU)
    labels = answered(network, pixels)
    assert network.num_labels == model.num_labels == 20
    # Which draws are rejected is learned, and differs a little between processors.
    assert set(range(10)) <= set(expected.tolist())
    assert len(expected[expected >= 10].unique()) > 1
    assert (labels == expected).float().mean() >= 0.99
    assert 100 < int((labels >= 10).sum()) < 1000
    # Each draw has the class that it has without a rejector.
    without = fast_network(with_rejector(model, None), ComputeConfig(precision, False, BATCH), CPU)
    assert (labels % 10 == answered(without, pixels)).float().mean() >= (0.99 if compiled else 1)
    assert without.num_labels == 10
    assert network._stages is not None
    assert not any(network._stages._kept.values()), "features stay in memory"


def test_hooks_keep_no_batchnorm_from_being_folded(model: DenoisedClassifier, pixels: torch.Tensor) -> None:
    without = with_rejector(model, None)
    assert norms(without) == 1 + 2
    assert norms(model) == norms(without) + 1 + 4 * 2 + 3  # stem, blocks, projections to wider ones
    fast = [fast_network(one, ComputeConfig("float32", False, BATCH), CPU) for one in (model, without)]
    for network in fast:
        network(pixels[:BATCH])
    # `second` keeps its own, as it is called twice.
    assert [norms(network._network) for network in fast] == [1, 1]
    assert not any(module._forward_hooks for module in model.modules()), "the original was changed"


def test_the_layer_that_gives_the_heads_stays_in_float32(model: DenoisedClassifier, pixels: torch.Tensor) -> None:
    network = fast_network(model, ComputeConfig("bfloat16", False, BATCH), CPU)
    network(pixels[:BATCH])
    assert network._network.rejector is not None
    inner = network._network.rejector.network
    assert inner is not None
    dtypes = {name: parameter.dtype for name, parameter in inner.named_parameters()}
    assert [name for name, dtype in dtypes.items() if dtype == torch.float32] == ["head.5.weight", "head.5.bias"]


def test_a_folding_that_changes_the_features_is_undone(
    model: DenoisedClassifier, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that loses them, such as of a user's module that is known under two names, of which one is replaced."""
    expected, calls = answered(model, pixels), []

    def odd(network: nn.Module) -> int:
        if isinstance(network, Small):
            network.second.register_forward_hook(lambda _, __, output: output if calls else output + 1)
            calls.append(network)
        return 0

    def lossy(network: nn.Module) -> int:
        if isinstance(network, Small):
            network.renamed = network._modules.pop("first")
            network.__dict__["first"] = network.renamed
        return 0

    for folding in (odd, lossy):
        monkeypatch.setattr(fast_networks, "fold_batch_norms", folding)
        network = fast_network(model, ComputeConfig("float32", False, BATCH), CPU)
        assert torch.equal(answered(network, pixels), expected)


def test_rules_behind_a_callable_that_is_no_module(model: DenoisedClassifier, pixels: torch.Tensor) -> None:
    class Service:
        def __call__(self, batch: torch.Tensor) -> Any:
            return model.classifier(batch).numpy()

    for denoiser, precision in ((model.denoiser, "float32"), (None, "bfloat16")):
        own = DenoisedClassifier(denoiser, NORMALIZE, Service(), LowConfidence(0.9)).eval()
        expected = answered(own, pixels)
        network = fast_network(own, ComputeConfig(precision, False, BATCH), CPU)
        assert (answered(network, pixels) == expected).float().mean() > 0.999
        assert network.num_labels == 20
        assert 0 < int((expected >= 10).sum()) < len(pixels)


def test_odd_logits_are_invalid_and_never_rejected(model: DenoisedClassifier, pixels: torch.Tensor) -> None:
    batch = pixels[:BATCH].clone(memory_format=torch.preserve_format)
    batch[3], batch[7, 0, 0, 0] = float("nan"), float("inf")
    for rejector in (model.rejector, LowConfidence(1.0)):
        network = fast_network(with_rejector(model, rejector), ComputeConfig("float32", False, BATCH), CPU)
        assert network(batch)[[3, 7]].tolist() == [INVALID] * 2


def test_the_probe_counts_rejected_draws(model: DenoisedClassifier) -> None:
    choice = choose_compute(model, (1, 8, 8), ComputeRequest("float32", "off", 50), 100, CPU)
    assert choice.unsteady is None
    assert choice.draws_per_second > 0


def test_features_of_a_pooling_that_is_replaced() -> None:
    """Eager networks on a CPU pool by halves, in a module of another kind under the same name."""
    pooled = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    pixels = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    network = rejector_network(pooled.requires_grad_(False), (1, 8, 8), pixels=pixels)
    assert [tap.module for tap in network.taps] == ["1", "2"]
    model = DenoisedClassifier(None, nn.Identity(), pooled, NetworkRejector(network)).eval()
    fast = fast_network(model, ComputeConfig("float32", False, BATCH), CPU)
    labels = answered(fast, pixels)
    assert isinstance(fast._network.classifier[2], MaxOfHalves)
    assert (labels == answered(model, pixels)).float().mean() >= 0.99
    assert 0 < int((labels >= 10).sum()) < 200
