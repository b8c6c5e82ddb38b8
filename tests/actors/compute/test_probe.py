"""How a compute configuration is chosen: as requested, by default for short runs, as measured for long ones.

Time is simulated: networks say how long they take, so that load on the machine changes no choice.
"""

from collections.abc import Callable
from types import SimpleNamespace

import base_classifiers
import pytest
import torch
from torch import nn

import raysmooth.actors.compute.probe
from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeConfig, ComputeRequest
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.compute.probe import choose_compute, measure
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.steadiness import RANDOM
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)


class Clock:
    """Seconds that pass only when a network takes them, and 1e-6 for each look at the clock."""

    now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now


clock = Clock()


@pytest.fixture(autouse=True)
def _native_bfloat16_and_simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raysmooth.actors.compute.probe, "native_precision", lambda device: "bfloat16")
    monkeypatch.setattr(raysmooth.actors.compute.probe, "time", SimpleNamespace(perf_counter=clock.perf_counter))


@pytest.fixture
def always_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raysmooth.actors.compute.probe, "WORTH_PROBING", 0.0)


class Void(nn.Module):
    """NaN and infinite logits."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.tensor([float("nan"), float("inf"), 1.0]) + 0 * batch[:, :3]


def alone(classifier: object) -> DenoisedClassifier:
    return DenoisedClassifier(None, nn.Identity(), classifier).eval()


def choose(classifier: object, asked: ComputeRequest, draws: int = 1000) -> ComputeChoice:
    return choose_compute(alone(classifier), SHAPE, asked, draws, CPU)


class Takes(nn.Module):
    """A linear map that takes `seconds(images, dtype)`; `images` counts those that it was given."""

    def __init__(self, seconds: Callable[[int, torch.dtype], float]) -> None:
        super().__init__()
        self.linear, self.seconds, self.images = nn.Linear(64, 10), seconds, [0]

    def __deepcopy__(self, memo: dict[int, object]) -> "Takes":
        made = Takes(self.seconds)
        made.images = self.images
        return made

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        clock.now += self.seconds(len(batch), batch.dtype)
        self.images[0] += len(batch)
        return self.linear(batch.flatten(1))


@pytest.mark.parametrize(("draws", "batch_size"), [(10**5, 250), (250, 250), (110, 110)])
def test_short_runs_take_the_defaults_at_once(draws: int, batch_size: int) -> None:
    network = Takes(lambda images, _: 1e-4 * images)
    choice = choose(network, ComputeRequest(), draws)
    assert network.images[0] <= 1000
    assert choice.compute == ComputeConfig("bfloat16", False, batch_size)
    assert choice.why == "less than 20 s of work"
    assert choice.tried == []
    assert choice.draws_per_second > 0


def brief(network: nn.Module, asked: ComputeRequest, draws: int) -> ComputeChoice:
    return choose_compute(alone(network), SHAPE, asked, draws, CPU, brief=True)


@pytest.mark.parametrize("batch_size", [None, 1000])
def test_a_brief_benchmark_of_a_slow_network_guesses_from_a_few_draws(batch_size: int | None) -> None:
    """A second a draw: two batches of one image, then one of two, for which the time is enough; not the next."""
    network, before = Takes(lambda images, _: 1.0 * images), clock.now
    choice = brief(network, ComputeRequest("float32", batch_size=batch_size), 10**6)
    assert choice.guessed_from == 4
    assert network.images[0] <= 8
    assert clock.now - before == pytest.approx(network.images[0], abs=0.01)
    assert choice.draws_per_second == pytest.approx(1.0, rel=0.01)
    assert choice.compute.batch_size == (batch_size or 250)


def test_a_brief_benchmark_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raysmooth.actors.compute.probe, "compiler", lambda: "g++")
    monkeypatch.setattr(raysmooth.actors.compute.probe, "require_compiler", lambda: "g++")
    for asked in (ComputeRequest("float32"), ComputeRequest("float32", "on", 50)):
        network = Takes(lambda images, _: 1e-4 * images)
        choice = brief(network, asked, 4_000_000)
        assert 100 < (choice.guessed_from or 0) <= network.images[0]
        assert choice.draws_per_second == pytest.approx(10_000, rel=0.01)


def test_a_brief_benchmark_chooses_where_that_is_quick() -> None:
    network = Takes(lambda images, _: 1e-4 * images)
    choice = brief(network, ComputeRequest("float32", "off"), 10**6)
    assert choice.guessed_from is None
    assert choice.why == "measured"
    assert choice.compute == choose(network, ComputeRequest("float32", "off"), 10**6).compute


def test_large_images_have_smaller_default_batches() -> None:
    model = alone(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10)))
    assert choose_compute(model, (3, 224, 224), ComputeRequest(), 1000, CPU).compute.batch_size == 10


@pytest.mark.usefixtures("always_probing")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_requests_are_met(precision: str) -> None:
    choice = choose(digits_cnn(), ComputeRequest(precision, "off", 77), 10**9)
    assert choice.compute == ComputeConfig(precision, False, 77)
    assert (choice.why, choice.tried) == ("as requested", [])
    assert choice.draws_per_second > 0


def test_requests_that_cannot_be_met_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    with pytest.raises(RaysmoothError, match="write --precision float32"):
        choose(base_classifiers.Linear(), ComputeRequest("tf32"))
    with pytest.raises(RaysmoothError, match="unknown precision 'int4'"):
        choose(base_classifiers.Linear(), ComputeRequest("int4"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RaysmoothError, match=r"needs a C\+\+ compiler"):
        choose(digits_cnn(), ComputeRequest(compile="on"))


class Only32(nn.Module):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        clock.now += 1e-4 * len(batch)
        return batch.flatten(1) @ torch.ones(64, 10)


@pytest.mark.parametrize("draws", [1000, 10**9])
def test_auto_falls_back_to_float32(draws: int) -> None:
    choice = choose(Only32(), ComputeRequest(compile="off", batch_size=50), draws)
    assert choice.compute == ComputeConfig("float32", False, 50)
    assert "the network does not compute in bfloat16" in choice.why
    with pytest.raises(RaysmoothError, match="does not compute in bfloat16"):
        choose(Only32(), ComputeRequest("bfloat16"))


@pytest.mark.usefixtures("always_probing")
def test_a_tiny_network_that_is_slower_in_bfloat16_stays_in_float32() -> None:
    slower = Takes(lambda images, dtype: (4e-5 if dtype == torch.bfloat16 else 1e-5) * images)
    assert choose(slower, ComputeRequest("auto", "off", 100)).compute.precision == "float32"
    faster = Takes(lambda images, dtype: (1e-5 if dtype == torch.bfloat16 else 4e-5) * images)
    assert choose(faster, ComputeRequest("auto", "off", 100)).compute.precision == "bfloat16"


@pytest.mark.usefixtures("always_probing")
@pytest.mark.parametrize(
    ("seconds", "batch"),
    [
        (lambda images, _: 2e-3 + 1e-6 * images, 1000),  # a call costs, an image does not: the largest
        (lambda images, _: 1e-4 * images, 25),  # the other way round: the smallest that is tried
        (lambda images, _: 1e-4 * images + 1e-3 + (0.1 if images > 250 else 0), 125),  # 4 % slower than 250
        (lambda images, _: 1e-4 * images + 2e-3 + (0.1 if images > 250 else 0), 250),  # 125 is 7 % slower
    ],
)
def test_the_smallest_batch_of_nearly_the_best(seconds: Callable[[int, torch.dtype], float], batch: int) -> None:
    started = clock.now
    choice = choose(Takes(seconds), ComputeRequest("float32", "off"), 10**6)
    assert choice.compute.batch_size == batch
    assert clock.now - started < 10


@pytest.mark.usefixtures("always_probing")
def test_the_search_ends_where_memory_does() -> None:
    class Big(Takes):
        def __deepcopy__(self, memo: dict[int, object]) -> "Big":
            return Big(self.seconds)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            if len(batch) > 300:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(batch)

    choice = choose(Big(lambda images, _: 1e-3 + 1e-6 * images), ComputeRequest("float32", "off"), 10**6)
    assert choice.compute.batch_size <= 250
    assert max(row["batch_size"] for row in choice.tried) == 250


class TestCompiling:
    """The choice alone, with a substitute for the compiler."""

    @pytest.fixture(autouse=True)
    def _substitute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0

        def make(model: DenoisedClassifier, path: ComputeConfig, device: torch.device) -> Callable[..., torch.Tensor]:
            if path.compiled:
                self.calls += 1
                if self.fails:
                    raise RaysmoothError("the network does not compile (no luck): write --compile off")
                quick = Takes(lambda images, _: self.compiled * images)
                return fast_network(alone(quick), ComputeConfig("float32", False, path.batch_size), device)
            return fast_network(model, path, device)

        monkeypatch.setattr(raysmooth.actors.compute.probe, "fast_network", make)
        monkeypatch.setattr(raysmooth.actors.compute.probe, "compiler", lambda: "g++")
        self.fails, self.compiled = False, 5e-5

    def choose(self, draws: int, compile: str = "auto") -> ComputeChoice:
        slow = Takes(lambda images, _: 1e-4 * images)
        return choose(slow, ComputeRequest("float32", compile, 50), draws)

    def test_it_has_to_save_more_than_it_costs(self) -> None:
        assert not self.choose(400_000).compute.compiled  # 40 s
        assert self.calls == 0
        choice = self.choose(4_000_000)
        assert choice.compute.compiled
        assert choice.why.startswith("measured; compiled: ")
        assert choice.draws_per_second > 14_000

    def test_it_has_to_be_faster(self) -> None:
        self.compiled = 1e-4
        choice = self.choose(4_000_000)
        assert not choice.compute.compiled
        assert choice.why == "measured; not compiled: not faster"

    def test_it_has_to_work(self) -> None:
        self.fails = True
        choice = self.choose(4_000_000)
        assert not choice.compute.compiled
        assert choice.why == "measured; not compiled: the network does not compile (no luck)"
        with pytest.raises(RaysmoothError, match="does not compile"):
            choose(Takes(lambda images, _: 1e-4 * images), ComputeRequest("float32", "on"), 4_000_000)

    def test_it_needs_a_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(raysmooth.actors.compute.probe, "compiler", lambda: None)
        assert self.choose(4_000_000).why == "measured; not compiled: no C++ compiler found"
        assert self.calls == 0

    def test_off_is_off(self) -> None:
        assert not self.choose(4_000_000, "off").compute.compiled
        assert self.calls == 0


def test_the_users_own_callable_is_called_twice_with_two_images() -> None:
    calls = []

    class Billed(base_classifiers.Labels):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            calls.append(len(batch))
            return super().__call__(batch)

    choice = choose(Billed(), ComputeRequest(), 10**9)
    assert choice.compute == ComputeConfig("float32", False, 250)
    assert sum(calls) <= 6
    assert choice.unsteady is None


@pytest.mark.parametrize("classifier", [base_classifiers.UndecidedLabels(), base_classifiers.Undecided()])
def test_equal_batches_with_unequal_labels_are_noticed(classifier: object) -> None:
    torch.manual_seed(0)
    for request in (ComputeRequest(), ComputeRequest("float32", "off", 50)):
        assert choose(classifier, request).unsteady == RANDOM


def test_a_few_unequal_labels_are_rounding() -> None:
    class Flickers(nn.Module):
        """Every other answer differs in the first labels."""

        num_classes, calls, unequal = 10, 0, 2

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            Flickers.calls += 1
            labels = (10 * batch.flatten(1).mean(dim=1)).long().clamp(0, 9)
            if len(batch) == 250 and Flickers.calls % 2:
                labels[: self.unequal] = 9 - labels[: self.unequal]
            return labels

    for unequal, warning in ((2, None), (3, RANDOM)):
        Flickers.unequal = unequal
        assert choose(Flickers(), ComputeRequest("float32", "off", 250)).unsteady == warning


@pytest.mark.parametrize("asked", [ComputeRequest(), ComputeRequest("float32"), ComputeRequest("bfloat16")])
def test_logits_that_are_no_numbers_do_not_stop_the_probe(asked: ComputeRequest) -> None:
    choice = choose(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), Void()), asked)
    assert choice.unsteady is None


def test_measured_draws_a_second() -> None:
    network = fast_network(alone(Takes(lambda images, _: 1e-4 * images)), ComputeConfig("float32", False, 50), CPU)
    rate = measure(network, ComputeConfig("float32", False, 50), SHAPE, Gaussian(0.5), CPU, 0.3)
    assert 4_000 < rate <= 10_000
