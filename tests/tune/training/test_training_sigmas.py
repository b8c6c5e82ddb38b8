"""Sigmas of training images: a step worked out in NumPy, what it must not touch, and trainings that are resumed, shared
or killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_trainings import (
    classifier_settings,
    killed_once,
    killed_settings,
    metrics,
    no_training,
    same_weights,
    stopped_after,
)
from scipy.special import expit
from scipy.stats import norm
from scripted import Linear

from raysmooth.actors.models.weights import read_weights
from raysmooth.actors.noise.families import NOISES
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.data.augment import AUGMENTATIONS, Augmentation
from raysmooth.tune.data.memory_images import MemoryImages
from raysmooth.tune.data.training_images import Step
from raysmooth.tune.objectives.data_dependent import SigmaSteps
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.phases import Phase
from raysmooth.tune.recipes.recipe import Recipe
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.training import trainer as trainer_module
from raysmooth.tune.training import training_sigmas as sigmas_module
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.train import train_classifier
from raysmooth.tune.training.trainer import SIGMAS, Trainer, WorkerRank, initialised
from raysmooth.tune.training.training_sigmas import TrainingSigmas

torch.set_num_threads(1)

CPU = torch.device("cpu")
SIGMA = 0.5
IMAGES = np.random.default_rng(1).uniform(size=(5, 4))
SLOPES = np.array([0.9, -0.4, 1.1, 0.3])


def how(**values: Any) -> SigmaSteps:
    options: dict[str, Any] = {"epochs_from": 0, "steps": 1, "learning_rate": 1e-2, "draws": 1, "clamp": 0.02}
    return SigmaSteps(**{**options, "least": 0.05, "most": 5.0, **values})


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels, dtype=torch.float32).view(len(pixels), 1, 2, 2)


def step_of(*positions: int) -> Step:
    return Step(torch.tensor(positions), slice(0, len(positions)), 0)


def by_hand(sigma: float, pixels: np.ndarray, units: np.ndarray, clamp: float) -> float:
    """The slope in sigma of sigma PhiInv(p), p the larger of the two classes' probabilities, its mean over draws.

    The logits are (w x, 0), so a draw's probability of class 0 is expit(w x + sigma w e), and its slope in sigma is
    p (1 - p) w e.
    """
    each = expit(SLOPES @ pixels + sigma * units @ SLOPES)
    p, slope = each.mean(), (each * (1 - each) * (units @ SLOPES)).mean()
    if p < 0.5:
        p, slope = 1 - p, -slope
    if p > 1 - clamp:
        p, slope = 1 - clamp, 0.0
    return norm.ppf(p) + sigma * slope / norm.pdf(norm.ppf(p))


@pytest.mark.parametrize(("draws", "steps"), [(1, 1), (1, 3), (4, 2)])
def test_steps_worked_out_by_hand(draws: int, steps: int) -> None:
    """On images that are not in order: sigmas belong to positions. Two of seven images are in no batch."""
    sigmas = TrainingSigmas(7, SIGMA, how(steps=steps, draws=draws), "gaussian", CPU)
    network = Linear(np.stack([SLOPES, np.zeros(4)]))
    sigmas.ascend(network, as_images(IMAGES), step_of(6, 0, 3, 1, 4), 11)
    generator = torch.Generator().manual_seed(11)
    units = np.array([[torch.randn(5, 4, generator=generator).numpy() for _ in range(draws)] for _ in range(steps)])
    expected = np.full(5, SIGMA)
    for step in range(steps):
        for image in range(5):
            expected[image] += 1e-2 * by_hand(expected[image], IMAGES[image], units[step, :, image], 0.02)
    assert sigmas.values[[6, 0, 3, 1, 4]].numpy() == pytest.approx(expected, rel=1e-6)
    assert len({*sigmas.values.tolist()}) == 6
    assert sigmas.values[[2, 5]].tolist() == [SIGMA, SIGMA]
    assert torch.equal(sigmas.of(Step(torch.tensor([2, 6, 0]), slice(1, 3), 0)), sigmas.values[[6, 0]])


def test_a_sure_network_moves_sigma_by_the_clamped_quantile_up_to_the_limit() -> None:
    sure = Linear(np.stack([np.full(4, 1e3), np.zeros(4)]))
    sigmas = TrainingSigmas(5, SIGMA, how(steps=50, learning_rate=1e-4), "gaussian", CPU)
    sigmas.ascend(sure, as_images(IMAGES + 9), step_of(*range(5)), 0)
    assert sigmas.values.tolist() == pytest.approx([SIGMA + 50 * 1e-4 * 2.0537489] * 5, rel=1e-9)
    sigmas = TrainingSigmas(5, SIGMA, how(steps=50, most=0.51), "gaussian", CPU)
    sigmas.ascend(sure, as_images(IMAGES + 9), step_of(*range(5)), 0)
    assert sigmas.values.tolist() == [0.51] * 5


def test_a_limit_at_the_level_itself_is_no_limit_that_the_level_breaks() -> None:
    for sigma in (0.1, 0.2, 0.3, 0.7):
        at = NOISES["uniform"].of_sigma(sigma)
        sigmas = TrainingSigmas(3, sigma, how(least=at, most=at), "uniform", CPU)
        sigmas.load(sigmas.values)
        assert sigmas.values.tolist() == pytest.approx([sigma] * 3, rel=1e-14)


def test_uniform_noise_moves_lambda() -> None:
    """The radius is lambda (p1 - p2): where p1 is 1, lambda moves by the rate; sigma is lambda / sqrt(3)."""
    sure = Linear(np.stack([np.full(4, 1e3), np.zeros(4)]))
    sigmas = TrainingSigmas(5, SIGMA, how(steps=3, most=0.9), "uniform", CPU)
    sigmas.ascend(sure, as_images(IMAGES + 9), step_of(*range(5)), 0)
    assert sigmas.values.tolist() == pytest.approx([SIGMA + 0.03 / sqrt(3)] * 5, rel=1e-9)
    sigmas.ascend(sure, as_images(IMAGES + 9), step_of(*range(5)), 0)
    assert sigmas.values.tolist() == pytest.approx([0.9 / sqrt(3)] * 5, rel=1e-9)


def layers() -> torch.nn.Module:
    """All that has a state of its own or draws: convolution, BatchNorm, dropout."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1),
        torch.nn.BatchNorm2d(3),
        torch.nn.Flatten(),
        torch.nn.Dropout(),
        torch.nn.Linear(12, 20),
    )


def test_nothing_of_the_network_is_touched() -> None:
    """Not BatchNorm's statistics, gradients, modes or torch's generator; and an image's sigma is its own affair."""
    network = initialised(layers, 0)
    network(as_images(IMAGES)).sum().backward()
    network[3].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    slopes = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    generator, modes = torch.get_rng_state(), [module.training for module in network.modules()]
    sigmas = TrainingSigmas(5, SIGMA, how(steps=2, draws=3), "gaussian", CPU)
    sigmas.ascend(network, as_images(IMAGES), step_of(*range(5)), 3)
    assert {*map(float, sigmas.values)}.isdisjoint({SIGMA})
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(torch.equal(parameter.grad, slopes[name]) for name, parameter in network.named_parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in network.modules()] == modes
    others = TrainingSigmas(5, SIGMA, how(steps=2, draws=3), "gaussian", CPU)
    others.ascend(network, as_images(np.concatenate([IMAGES[:1], IMAGES[1:] * 3])), step_of(*range(5)), 3)
    assert float(others.values[0]) == pytest.approx(float(sigmas.values[0]), rel=1e-6)
    assert not torch.isclose(others.values[1:], sigmas.values[1:], rtol=1e-9).any()


@pytest.mark.parametrize(
    "values",
    [
        torch.full((4,), 0.5, dtype=torch.float64), torch.full((5,), 0.5), torch.full((5,), 6.0, dtype=torch.float64),
        torch.tensor([0.5, 0.5, float("nan"), 0.5, 0.5], dtype=torch.float64), torch.zeros(5, dtype=torch.float64),
    ],
)  # fmt: skip
def test_sigmas_of_other_images_or_beyond_the_limits_are_no_state(values: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="sigmas of other images, or beyond their limits"):
        TrainingSigmas(5, SIGMA, how(), "gaussian", CPU).load(values)


# --- the training loop --------------------------------------------------------------------------------------------


class Seen:
    """A loss on noisy images that records the noise of each image by its label, which is its position."""

    def __init__(self) -> None:
        self.noise: list[dict[int, torch.Tensor]] = []

    def __call__(
        self, network: InPrecision, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int,
        step: int,
    ) -> torch.Tensor:  # fmt: skip
        added = noise(images)
        self.noise.append(dict(zip(labels.tolist(), added, strict=True)))
        return torch.nn.functional.cross_entropy(network(images + added), labels)


def a_trainer(
    loss: Seen, options: SigmaSteps | None, worker: WorkerRank | None = None, plain: bool = False, rate: float = 0.05
) -> tuple[Trainer, TrainingSigmas | None]:
    """Four epochs of three steps on 20 images. `plain`: a network without statistics or draws of its own."""
    augmentation = AUGMENTATIONS["none"]
    assert isinstance(augmentation, Augmentation)
    pixels = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    images = MemoryImages(pixels, torch.arange(20), torch.arange(20), augmentation)
    build = (lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 20))) if plain else layers
    network = InPrecision(initialised(build, 0), CPU, "float32")
    recipe = Recipe((Phase(4, "sgd", rate),), 8, 0.0, 0.9, "none", "this test")
    sigmas = None if options is None else TrainingSigmas(20, SIGMA, options, "gaussian", CPU)
    noise = TrainingNoise("gaussian", SIGMA, CPU)
    return Trainer(network, loss, images, noise, recipe, 0, "network", 1, worker, sigmas), sigmas


def epoch_of(trainer: Trainer) -> None:
    trainer.train_epoch(EpochProgress("network", 4, 20, trainer.epochs_done, show=False))


def weights(trainer: Trainer) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in trainer.network.state_dict().items()}


def test_sigmas_move_from_an_epoch_on_and_are_the_losses() -> None:
    """Until then the training is one with a single sigma; after it, the noise of a step is the same but for its scale:
    the steps of sigma draw none of it.
    """
    fixed, seen = Seen(), Seen()
    (plain, _), (trainer, sigmas) = a_trainer(fixed, None), a_trainer(seen, how(epochs_from=2, learning_rate=0.1))
    assert sigmas is not None
    before = sigmas.values.clone()
    for epoch in range(4):
        epoch_of(plain)
        epoch_of(trainer)
        moved = sigmas.values != before
        assert bool(moved.all()) == bool(moved.any()) == (epoch >= 2)
        assert (weights(trainer) == weights(plain)) == (epoch < 2)
        for one, own in zip(fixed.noise[-3:], seen.noise[-3:], strict=True):
            for image, noise in own.items():
                torch.testing.assert_close(noise, one[image] * float(sigmas.values[image] / SIGMA))
        before = sigmas.values.clone()
    found = sigmas.metrics()
    assert found == {
        "mean_sigma": pytest.approx(before.numpy().mean()), "min_sigma": before.min(), "max_sigma": before.max()
    }  # fmt: skip
    assert found["min_sigma"] < found["max_sigma"]


def test_the_noise_of_sigmas_has_seeds_of_its_own() -> None:
    """In every epoch other ones, and none of those of order, augmentation and the losses' noise."""
    seeds = [trainer_module._seeds(0, epoch, 8, *purpose) for epoch in range(3) for purpose in ((), (SIGMAS,))]
    assert len({seed for some in seeds for seed in some}) == 48


def test_limits_at_the_level_itself_are_the_training_with_one_sigma_to_the_last_bit() -> None:
    (plain, _), (trainer, _) = a_trainer(Seen(), None), a_trainer(Seen(), how(least=SIGMA, most=SIGMA, draws=2))
    while not trainer.finished:
        epoch_of(plain)
        epoch_of(trainer)
        assert weights(trainer) == weights(plain)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_resumed_training_has_the_same_weights_and_sigmas(done: int, tmp_path: Path) -> None:
    whole, sigmas = a_trainer(Seen(), how(epochs_from=1))
    while not whole.finished:
        epoch_of(whole)
        if whole.epochs_done == done:
            torch.save(whole.state(), tmp_path / "state.pt")
    resumed, own = a_trainer(Seen(), how(epochs_from=1))
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True))
    while not resumed.finished:
        epoch_of(resumed)
    assert sigmas is not None
    assert own is not None
    assert own.values.tolist() == sigmas.values.tolist()
    assert weights(resumed) == weights(whole)
    plain, _ = a_trainer(Seen(), None)
    epoch_of(plain)
    for trainer, other in ((plain, whole), (whole, plain)):
        with pytest.raises(ValueError, match="sigmas of images' own, or none, against those of this training"):
            trainer.load(other.state())


def test_workers_find_together_the_sigmas_that_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the others' after an epoch; the network stays as it is, to the last bits of its logits."""
    alone, sigmas = a_trainer(Seen(), how(), plain=True, rate=1e-30)
    assert sigmas is not None
    parts: list[torch.Tensor] = []
    monkeypatch.setattr(trainer_module, "DistributedDataParallel", lambda module: module)
    monkeypatch.setattr(trainer_module, "all_reduce", lambda total: None)
    workers = [a_trainer(Seen(), how(), WorkerRank(rank, 3), plain=True, rate=1e-30) for rank in range(3)]
    for _ in range(2):
        epoch_of(alone)
        parts.clear()
        monkeypatch.setattr(sigmas_module, "all_reduce", lambda own: parts.append(own))
        for worker, _ in workers:
            epoch_of(worker)
        assert torch.equal(torch.stack(parts).count_nonzero(dim=0), torch.ones(20, dtype=torch.int64))
        for _, own in workers:
            assert own is not None
            own.values = sum(parts, torch.zeros(20, dtype=torch.float64))
            assert own.values.tolist() == pytest.approx(sigmas.values.tolist(), rel=1e-6)


# --- whole trainings ----------------------------------------------------------------------------------------------

MACER = "macer:m=2,gamma=8,lambda=6,deferral=0"
MOVING = {"data_dependent": "epochs-from=1,steps=2,learning_rate=0.05", "sigma": 0.2, "max": 100, "epochs": 3}


def test_card_metrics_and_identity_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "w.safetensors"
    train_classifier(classifier_settings(out, objective=MACER, **MOVING))
    assert ", macer:" in (line := capsys.readouterr().out)
    assert " at sigma 0.2, data-dependent: accuracy" in line
    card, rows = read_weights(out).card, metrics(out)
    options = {"epochs_from": 1, "steps": 2, "learning_rate": 0.05, "draws": 1, "clamp": 0.02}
    assert card["data_dependent"] == {**options, "least": 0.05, "most": 0.8}
    assert rows.mean_sigma.iloc[0] == rows.min_sigma.iloc[0] == rows.max_sigma.iloc[0] == 0.2
    assert rows.min_sigma.iloc[2] < rows.mean_sigma.iloc[2] < rows.max_sigma.iloc[2]
    last = rows[["mean_sigma", "min_sigma", "max_sigma"]].iloc[2].to_dict()
    assert card["image_sigmas"] == pytest.approx(last, rel=1e-12)
    assert '"data_dependent"' in (tmp_path / "w.training/training.json").read_text()
    assert card["measured_at"] == {"noise": "gaussian", "sigma": 0.2}
    other = {**MOVING, "data_dependent": "epochs_from=1,steps=1,learning_rate=0.05"}
    with no_training(), pytest.raises(RaysmoothError, match="holds a training with steps 2, not 1"):
        train_classifier(classifier_settings(out, objective=MACER, **other), show=False)
    with no_training(), pytest.raises(RaysmoothError, match="holds a training with data_dependent "):
        train_classifier(classifier_settings(out, objective=MACER, **{**MOVING, "data_dependent": None}), show=False)
    with no_training():  # the defaults written are those left out
        same = {**MOVING, "data_dependent": "epochs_from=1,steps=2,learning_rate=0.05,draws=1,most=0.8"}
        train_classifier(classifier_settings(out, objective=MACER, **same), show=False)


@contextmanager
def a_state_after(epochs: int, out: Path) -> Iterator[dict[str, Any]]:
    with stopped_after(epochs):
        train_classifier(classifier_settings(out, objective="smoothadv:m=2,steps=1", **MOVING), show=False)
    yield torch.load(out.with_suffix(".training") / "state.pt", weights_only=True)


def test_a_stopped_training_resumes_with_the_sigmas_of_its_state(tmp_path: Path) -> None:
    out, whole = tmp_path / "w.safetensors", tmp_path / "whole.safetensors"
    with a_state_after(2, out) as state:
        assert state["trainer"]["sigmas"].shape == (90,)
        assert state["trainer"]["sigmas"].dtype == torch.float64
        assert len(set(state["trainer"]["sigmas"].tolist())) == 90
        altered = {**state, "trainer": {**state["trainer"], "sigmas": torch.zeros(90, dtype=torch.float64)}}
    file = out.with_suffix(".training") / "state.pt"
    kept = file.read_bytes()
    settings = classifier_settings(out, objective="smoothadv:m=2,steps=1", **MOVING)
    torch.save(altered, file)
    with no_training(), pytest.raises(RaysmoothError, match=r"state\.pt cannot be read: delete"):
        train_classifier(settings, show=False)
    file.write_bytes(kept)
    train_classifier(settings, show=False)
    train_classifier(settings.model_copy(update={"out": str(whole)}), show=False)
    assert same_weights(out, whole)
    assert metrics(out).equals(metrics(whole))


@pytest.mark.processes
def test_sigkill_then_the_same_command(tmp_path: Path) -> None:
    flags = {"objective": "gaussian", "sigma": "0.2", "data-dependent": "epochs-from=0,learning_rate=0.05"}
    out, _ = killed_once("classifier", tmp_path, flags)
    undisturbed = tmp_path / "whole.safetensors"
    given = {**killed_settings(tmp_path), **flags, "out": str(undisturbed)}
    values = {name.replace("-", "_"): value for name, value in given.items()}
    train_classifier(TrainClassifierSettings.model_validate({**values, "trust_code": True}), show=False)
    assert same_weights(out, undisturbed)
    assert metrics(out).equals(metrics(undisturbed))
