"""The fast network computes the same function: up to rounding in float32, up to a few labels in bfloat16."""

import copy
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import base_classifiers
import numpy as np
import pytest
import torch
from scipy.stats import beta
from sklearn.datasets import load_digits
from torch import nn

from raysmooth.actors.compute.compilation import cache_folder
from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.compute.folding import fold_batch_norms
from raysmooth.actors.models.base_classifier import INVALID, DenoisedClassifier
from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.networks.cifar_preact_resnet import wide_resnet
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.networks.normalize import Normalize
from raysmooth.common.errors import RaysmoothError

CPU = torch.device("cpu")
BATCH = 100


def config(precision: str = "bfloat16", compiled: bool = False, batch_size: int = BATCH) -> ComputeConfig:
    return ComputeConfig(precision, compiled, batch_size)


def alone(classifier: object) -> DenoisedClassifier:
    return DenoisedClassifier(None, nn.Identity(), classifier).eval()


def channels_last(*shape: int, seed: int = 0) -> torch.Tensor:
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return pixels.contiguous(memory_format=torch.channels_last)


def perturbed(network: nn.Module, seed: int = 0) -> nn.Module:
    """`network` in eval mode with BatchNorms as after training, and no layer of zeros."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
        elif isinstance(module, nn.Conv2d) and not module.weight.any():
            module.weight.data.normal_(0, 0.05, generator=generator)
    return network.eval().requires_grad_(False)


# BatchNorms that stay: pre-activation ones, which no convolution feeds, and those behind padding on two sides.
LEFT = {"cifar_preactresnet18": 8, "cifar_senet18": 8, "cifar_densenet121": 62, "memnet": 22, "efficientnet_lite0": 5}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: entry.build for name, entry in CLASSIFIERS.items() if "wrn" not in name},
    **{name: entry.build for name, entry in DENOISERS.items()},
}
SHAPES = {"lenet": (1, 28, 28), "mnist_cnn": (1, 28, 28), "digits_cnn": (1, 8, 8)}


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_are_the_unfolded_ones(name: str) -> None:
    network = perturbed(NETWORKS[name]())
    pixels = channels_last(2, *SHAPES.get(name, (3, 32, 32)))
    expected = network(pixels)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert fold_batch_norms(network) == norms - LEFT.get(name, 0)
    torch.testing.assert_close(network(pixels), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_the_wide_residual_networks_are_folded_too() -> None:
    network, pixels = perturbed(wide_resnet(10, 1, 10)), channels_last(2, 3, 32, 32)
    expected = network(pixels)
    assert fold_batch_norms(network) == 3
    torch.testing.assert_close(network(pixels), expected, rtol=1e-4, atol=1e-4)


class Untraceable(nn.Module):
    """Branches on its input, so that only its parts can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 10)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if batch.isnan().all():
            raise ValueError("nothing to see")
        x = self.features(batch)
        return self.linear(self.norm(self.conv(x)).mean(dim=(2, 3)))


class Shared(nn.Module):
    """One convolution under two BatchNorms, and one BatchNorm on a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two, self.three = nn.Conv2d(1, 10, 3), *(nn.BatchNorm2d(10) for _ in range(3))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.three(self.one(self.conv(batch)) + self.two(self.conv(batch))).mean(dim=(2, 3))


@torch.inference_mode()
@pytest.mark.parametrize(("network", "folded"), [(Untraceable(), 1), (Shared(), 0)])
def test_networks_of_the_users_own(network: nn.Module, folded: int) -> None:
    network, pixels = perturbed(network), channels_last(4, 1, 8, 8)
    expected = network(pixels)
    assert torch.equal(fast_network(alone(network), config("float32"), CPU)(pixels), expected.argmax(dim=1))
    assert fast_network(alone(network), config("bfloat16"), CPU)(pixels).shape == (4,)
    assert torch.equal(network(pixels), expected), "the original was changed"
    assert fold_batch_norms(network) == folded
    torch.testing.assert_close(network(pixels), expected)


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    bunch = load_digits()
    return torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None], torch.tensor(bunch.target)


@pytest.fixture(scope="module")
def trained(digits: tuple[torch.Tensor, torch.Tensor]) -> DenoisedClassifier:
    """digits_cnn after a denoiser and normalisation, both trained briefly on noisy digits."""
    pixels, labels = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = DENOISERS["dncnn"].build(depth=4, width=8, channels=1)
        model = DenoisedClassifier(denoiser, Normalize((0.3,), (0.4,)), digits_cnn()).train()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            chosen = torch.randint(1400, (128,))
            noisy = pixels[chosen] + 0.25 * torch.randn(128, 1, 8, 8)
            logits = model.classifier(model.normalize(model.denoiser(noisy)))
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, labels[chosen]).backward()
            optimizer.step()
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def noisy(digits: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    images = digits[0][1400:1440].repeat_interleave(50, dim=0)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + 0.25 * noise).contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def fast(trained: DenoisedClassifier, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Any]:
    """The network for a precision, compiled or not; each is made, and compiled, once for all tests."""
    # An empty folder: all of this process's compiling goes there from now on.
    cache = str(tmp_path_factory.mktemp("cache"))

    @lru_cache
    def network(precision: str, compiled: bool) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
            patch.setenv("XDG_CACHE_HOME", cache)
            made = fast_network(trained, config(precision, compiled), CPU)
            made(torch.zeros(BATCH, 1, 8, 8))
        return made

    return network


KINDS = [
    ("float32", False),
    ("bfloat16", False),
    pytest.param("float32", True, marks=pytest.mark.processes),  # the C++ compiler's
    pytest.param("bfloat16", True, marks=pytest.mark.processes),
]


@pytest.mark.parametrize(("precision", "compiled"), KINDS)
def test_labels_agree_with_the_float32_eager_network(
    precision: str,
    compiled: bool,
    fast: Callable[[str, bool], Any],
    trained: DenoisedClassifier,
    noisy: torch.Tensor,
) -> None:
    network = fast(precision, compiled)
    with torch.inference_mode():
        expected = trained(noisy)
    labels = torch.cat([network(batch).clone() for batch in noisy.split(BATCH)])
    assert labels.dtype == torch.int64
    assert network.num_classes == 10
    assert len(expected.unique()) == 10
    assert (labels == expected).float().mean() >= (0.99 if precision == "bfloat16" else 0.9995)
    again = torch.cat([network(batch).clone() for batch in noisy.split(BATCH)])
    assert torch.equal(labels, again)


@pytest.mark.parametrize(("precision", "compiled"), KINDS)
def test_logits_that_are_not_finite_are_invalid(
    precision: str, compiled: bool, fast: Callable[[str, bool], Any], noisy: torch.Tensor
) -> None:
    batch = noisy[:BATCH].clone(memory_format=torch.preserve_format)
    expected = fast(precision, compiled)(batch).clone()
    batch[3, 0, 2, 2], batch[7, 0, 0, 0], batch[9] = float("nan"), float("inf"), float("-inf")
    labels = fast(precision, compiled)(batch)
    assert labels[[3, 7, 9]].tolist() == [INVALID] * 3
    others = [row for row in range(BATCH) if row not in (3, 7, 9)]
    assert torch.equal(labels[others], expected[others])


@pytest.mark.processes
def test_certificates_of_the_bfloat16_network_hold_for_it(
    fast: Callable[[str, bool], Any], digits: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Clopper-Pearson lower bounds at alpha = 5 %, each from 100 draws, exceed the true probability (from 20,000 other
    draws) in at most 5 % of 600 trials, plus three standard errors.
    """
    network, generator = fast("bfloat16", True), torch.Generator().manual_seed(2)

    def answers(image: torch.Tensor, batches: int) -> np.ndarray:
        noise = (torch.randn(BATCH, 1, 8, 8, generator=generator) for _ in range(batches))
        return np.stack([network(image + 0.5 * part).clone().numpy() for part in noise])

    exceeded, trials = 0, 0
    for image in digits[0][[1411, 1423, 1437]]:
        truth = answers(image, 200)
        top = np.bincount(truth.ravel(), minlength=10).argmax()
        p = (truth == top).mean()
        assert 0.3 < p < 0.9999
        counts = (answers(image, 200) == top).sum(axis=1)
        bounds = np.where(counts > 0, beta.ppf(0.05, counts, BATCH - counts + 1), 0)
        exceeded, trials = exceeded + int((bounds > p).sum()), trials + len(bounds)
    assert exceeded <= 0.05 * trials + 3 * np.sqrt(0.05 * 0.95 * trials)


def test_only_the_layer_that_gives_the_logits_stays_in_float32(trained: DenoisedClassifier) -> None:
    network = fast_network(trained, config(), CPU)
    seen: dict[str, set[torch.dtype]] = {}
    for name, module in network._network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda _, inputs, output, name=name: seen.setdefault(name, set()).add(output.dtype)
            )
    network(torch.rand(BATCH, 1, 8, 8))
    seen.clear()
    network(torch.rand(BATCH, 1, 8, 8))
    *inner, last = seen
    assert seen[last] == {torch.float32}
    assert last == "classifier.7"
    assert len(inner) == 6
    assert all(seen[name] == {torch.bfloat16} for name in inner)
    assert all(parameter.dtype == torch.float32 for parameter in trained.parameters())


@pytest.mark.parametrize("compiled", [False, True])
def test_the_users_callable_gets_float32_pixels_and_is_left_alone(compiled: bool) -> None:
    seen = []

    class Watching(base_classifiers.Labels):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append((batch.dtype, torch.compiler.is_compiling()))
            return super().__call__(batch) + (batch.flatten(1).mean(dim=1) > 0.95) * 10

    watching = Watching()
    batch = torch.stack([torch.full((1, 8, 8), value) for value in (0.05, 0.55, 1.0)])
    network = fast_network(alone(watching), config("bfloat16", compiled, 3), CPU)
    assert network(batch).tolist() == [0, 5, INVALID]
    assert set(seen) == {(torch.float32, False)}
    denoiser = perturbed(DENOISERS["dncnn"].build(depth=3, width=4, channels=1))
    behind = DenoisedClassifier(denoiser, nn.Identity(), watching)
    assert fast_network(behind, config("bfloat16", False, 3), CPU)(batch).shape == (3,)
    assert set(seen) == {(torch.float32, False)}


class Halves(nn.Module):
    """Multiplies by a float32 constant that no cast reaches."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1) @ torch.ones(64, 10)


class Keeps(base_classifiers.Linear):
    """Cannot be copied."""

    def __deepcopy__(self, memo: object) -> "Keeps":
        raise TypeError("cannot pickle a connection")


@pytest.mark.parametrize("network", [Halves(), Keeps()])
def test_a_module_that_does_not_compute_in_bfloat16_is_refused(network: nn.Module) -> None:
    batch = torch.rand(5, 1, 8, 8)
    with pytest.raises(RaysmoothError, match=r"does not compute in bfloat16 \(.*\): write --precision float32$"):
        fast_network(alone(network), config("bfloat16", False, 5), CPU)(batch)
    assert torch.equal(fast_network(alone(network), config("float32", False, 5), CPU)(batch), alone(network)(batch))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda batch: torch.zeros(1, 10), "returns 1 outputs for 2 images"),
        (lambda batch: torch.zeros(len(batch), 10, 1), "returns shape (2, 10, 1)"),
        (lambda batch: torch.zeros(len(batch)), "returns shape (2,)"),
    ],
)
def test_answers_of_a_wrong_shape_are_refused(answer: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        fast_network(alone(answer), config(), CPU)(torch.rand(BATCH, 1, 8, 8))
    assert message in str(refused.value)


def test_without_a_compiler_compiling_is_refused(
    trained: DenoisedClassifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RaysmoothError, match=r"needs a C\+\+ compiler, none was found: .*, or write --compile off"):
        fast_network(trained, config(compiled=True), CPU)(torch.rand(BATCH, 1, 8, 8))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_whose_first_logits_are_not_finite_gives_invalid_labels(precision: str, value: float) -> None:
    """The first batch, with which the folded network is compared with the plain one."""

    class Overflows(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch) * value

    batch = torch.rand(5, 1, 8, 8)
    network = fast_network(alone(Overflows()), config(precision, False, 5), CPU)
    assert network(batch).tolist() == [INVALID] * 5
    assert network.num_classes == 10


def test_the_original_is_not_changed(trained: DenoisedClassifier) -> None:
    before = copy.deepcopy(trained.state_dict())
    fast_network(trained, config(), CPU)(torch.rand(BATCH, 1, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


def test_compiled_code_lies_in_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "raysmooth" / "compiled").mkdir(parents=True, mode=0o777)
    assert cache_folder() == tmp_path / "raysmooth" / "compiled"
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder().stat().st_mode & 0o777 == 0o700


class UsedTwice(nn.Module):
    """Uses its convolution's weights a second time, which a trace of modules does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 36, 10)
        self.norm.running_mean += 0.3
        self.norm.running_var *= 4.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        again = nn.functional.conv2d(x, self.conv.weight, self.conv.bias)
        return self.last((self.norm(self.conv(x)) + again).flatten(1))


def test_a_module_that_folding_would_change_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model = DenoisedClassifier(None, nn.Identity(), UsedTwice().eval())
    batch = torch.randn(64, 1, 8, 8)
    fast = fast_network(model, ComputeConfig("float32", False, 64), torch.device("cpu"))
    assert fast(batch).tolist() == model(batch).tolist()
