"""The training loop: steps worked out by hand, and trainings that are resumed, shared or stopped."""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import raysmooth.tune.training.trainer
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.data.augment import AUGMENTATIONS, Augmentation
from raysmooth.tune.data.memory_images import MemoryImages
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.phases import Phase
from raysmooth.tune.recipes.recipe import Recipe
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.trainer import Loss, Trainer, WorkerRank, initialised

torch.set_num_threads(1)

CPU = torch.device("cpu")


def recipe(*phases: Phase, batch_size: int = 8, momentum: float = 0.0, clip_norm: float | None = None) -> Recipe:
    return Recipe(phases, batch_size, 0.0, momentum, "none", "this test", clip_norm)


def some_images(count: int = 20, augment: str = "none", side: int = 2) -> MemoryImages:
    """`count` random images with one channel; the label of an image is its number."""
    pixels = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    augmentation = AUGMENTATIONS[augment]
    assert isinstance(augmentation, Augmentation)
    return MemoryImages(pixels, torch.arange(count), torch.arange(count), augmentation)


def make(
    module: torch.nn.Module,
    loss: Loss,
    how: Recipe,
    images: MemoryImages | None = None,
    *,
    seed: int = 0,
    noise: TrainingNoise | None = None,
    chunks: int = 1,
    worker: WorkerRank | None = None,
) -> Trainer:
    network = InPrecision(module, CPU, "float32")
    noise = noise or TrainingNoise("gaussian", 0.1, CPU)
    return Trainer(network, loss, images or some_images(), noise, how, seed, "network", chunks, worker)


def silent(trainer: Trainer) -> EpochProgress:
    return EpochProgress("network", trainer.recipe.epochs, 20, trainer.epochs_done, show=False)


def finish(trainer: Trainer) -> list[tuple[int, float, float, int]]:
    """All epochs that are left: epoch, loss, learning rate and steps of each."""
    results = []
    while not trainer.finished:
        result = trainer.train_epoch(silent(trainer))
        results.append((result.epoch, result.loss, result.learning_rate, result.steps))
        assert result.images_per_second > 0
    return results


class Weights(torch.nn.Module):
    """`count` numbers, zero at first."""

    def __init__(self, count: int = 1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(count, dtype=torch.float64))


def gradients(*values: Sequence[float]) -> Loss:
    """A loss of `Weights` whose gradient in epoch e is values[e], for any weights and images."""

    def loss(
        network: InPrecision, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int, step: int
    ) -> torch.Tensor:
        assert isinstance(network.network, Weights)
        return network.network.weight @ torch.tensor(values[epoch], dtype=torch.float64)

    return loss


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it comes back from disk, read by the loader that runs no code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert isinstance(loaded, dict)
    return loaded


def followed(how: Recipe, loss: Loss, resumed: bool) -> Iterator[tuple[Trainer, float]]:
    """After each epoch of one step: the trainer, and where its weight is; `resumed`, by another trainer each."""
    trainer = make(Weights(), loss, how)
    while not trainer.finished:
        trainer.train_epoch(silent(trainer))
        yield trainer, trainer.network.network.weight.item()
        if resumed:
            state = through_a_file(trainer.state())
            trainer = make(Weights(), loss, how)
            trainer.load(state)


def places(how: Recipe, loss: Loss, resumed: bool) -> list[float]:
    return [place for _, place in followed(how, loss, resumed)]


def flat(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


# --- what is seen ------------------------------------------------------------------------------------------------


class Seen:
    """A loss that records its arguments, and adds noise twice; the gradient is the images' mean."""

    def __init__(self) -> None:
        self.images: list[torch.Tensor] = []
        self.labels: list[list[int]] = []
        self.noise: list[torch.Tensor] = []
        self.layers: list[float] = []
        self.counts: list[tuple[int, int]] = []

    def __call__(
        self,
        network: InPrecision,
        images: torch.Tensor,
        labels: torch.Tensor,
        noise: TrainingNoise,
        epoch: int,
        step: int,
    ) -> torch.Tensor:
        self.images.append(images)
        self.labels.append(labels.tolist())
        self.noise.append(torch.stack([noise(images), noise(images)], dim=1))
        self.layers.append(float(torch.rand(())))
        self.counts.append((epoch, step))
        return network.network.weight.sum() * images.double().mean()


def test_every_image_is_seen_once_an_epoch_in_batches_of_equal_size() -> None:
    seen, images = Seen(), some_images()
    trainer = make(Weights(), seen, recipe(Phase(2, "sgd", 0.1)), images)
    assert trainer.steps_per_epoch == 3
    assert [steps for *_, steps in finish(trainer)] == [3, 3]
    assert [len(labels) for labels in seen.labels] == [7, 7, 6] * 2
    epochs = [flat(seen.labels[:3]), flat(seen.labels[3:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))
    assert epochs[0] != epochs[1] != list(range(20))
    pixels = next(iter(images.in_order(20)))[0]
    for batch, labels in zip(seen.images, seen.labels, strict=True):
        assert torch.equal(batch, pixels[labels])
    assert seen.counts == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]


@pytest.mark.parametrize(
    ("batch_size", "chunks", "sizes"),
    [
        (8, 1, [7, 7, 6]),
        (6, 1, [5, 5, 5, 5]),
        (3, 1, [3] * 6 + [2]),
        (19, 1, [10, 10]),
        (20, 1, [20]),
        (1000, 1, [20]),
        (12, 2, [5, 5, 5, 5]),
        (8, 2, [4] * 5),
        (8, 3, [2] * 10),
        (18, 2, [7, 7, 6]),
        (8, 100, [1] * 20),
    ],
)
def test_batches_and_their_chunks(batch_size: int, chunks: int, sizes: list[int]) -> None:
    seen = Seen()
    finish(make(Weights(), seen, recipe(Phase(1, "sgd", 0.1), batch_size=batch_size), chunks=chunks))
    assert [len(labels) for labels in seen.labels] == sizes
    assert sorted(flat(seen.labels)) == list(range(20))


def test_no_batch_is_a_few_left_over() -> None:
    seen = Seen()
    finish(make(Weights(), seen, recipe(Phase(1, "sgd", 0.1), batch_size=5), some_images(21)))
    assert [len(labels) for labels in seen.labels] == [5, 4, 4, 4, 4]


def test_noise_is_fresh_in_every_step_and_epoch() -> None:
    seen = Seen()
    finish(make(Weights(), seen, recipe(Phase(2, "sgd", 0.1))))
    drawn = torch.cat([noise.flatten(0, 1) for noise in seen.noise]).flatten(1)
    assert len({tuple(noise) for noise in drawn.tolist()}) == 2 * 2 * 20


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_see_together_what_one_sees(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Images, augmentation and noise alike; and their gradients, averaged, are the one's."""
    how = recipe(Phase(2, "sgd", 1.0))
    images = some_images(augment="crop-flip", side=6)

    def trained(worker: WorkerRank) -> tuple[Seen, list[float], list[float]]:
        seen, module = Seen(), Weights()
        trainer = make(module, seen, how, images, noise=TrainingNoise("uniform", 0.3, CPU), worker=worker)
        losses = [loss for _, loss, *_ in finish(trainer)]
        return seen, module.weight.tolist(), losses

    alone, moved, _ = trained(WorkerRank())
    summed: list[float] = []
    monkeypatch.setattr(raysmooth.tune.training.trainer, "DistributedDataParallel", lambda module: module)
    monkeypatch.setattr(raysmooth.tune.training.trainer, "all_reduce", lambda total: summed.append(float(total)))
    workers_runs = [trained(WorkerRank(rank, workers)) for rank in range(workers)]

    for step in range(6):
        parts = [seen for seen, _, _ in workers_runs]
        assert flat(part.labels[step] for part in parts) == alone.labels[step]
        assert torch.equal(torch.cat([part.images[step] for part in parts]), alone.images[step])
        assert torch.equal(torch.cat([part.noise[step] for part in parts]), alone.noise[step])
        assert len({len(part.labels[step]) for part in parts}) <= 2
        assert len({part.layers[step] for part in parts}) == workers  # dropout must not repeat between parts
        assert all(part.counts[step] == alone.counts[step] for part in parts)
    # The weight moves by minus the gradient, which does not depend on the weight.
    together = sum(moves[0] for _, moves, _ in workers_runs) / workers
    assert together == pytest.approx(moved[0], rel=1e-6)
    assert len(summed) == 2 * workers
    assert [loss for *_, losses in workers_runs for loss in losses] == [total / 20 for total in summed]


@given(st.integers(1, 100), st.integers(1, 20))
@settings(deadline=None)
def test_local_images_are_the_batch_in_equal_pieces(batch: int, workers: int) -> None:
    parts = [range(batch)[WorkerRank(rank, workers).local(batch)] for rank in range(workers)]
    assert [place for part in parts for place in part] == list(range(batch))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [WorkerRank(rank, workers).first for rank in range(workers)] == [True] + [False] * (workers - 1)


def test_too_few_images_for_the_workers_are_refused() -> None:
    with pytest.raises(RaysmoothError) as refused:
        make(Weights(), Seen(), recipe(Phase(1, "sgd", 0.1), batch_size=2), worker=WorkerRank(0, 3))
    assert str(refused.value) == (
        "steps of 2 images cannot be shared by 3 workers: write a larger --batch-size or fewer --workers"
    )


# --- what a seed decides -----------------------------------------------------------------------------------------


def network() -> torch.nn.Module:
    """All that has a state of its own or draws: convolution, BatchNorm, dropout."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1),
        torch.nn.BatchNorm2d(3),
        torch.nn.Flatten(),
        torch.nn.Dropout(),
        torch.nn.Linear(3 * 36, 20),
    )


def noisy_cross_entropy(
    network: InPrecision, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int, step: int
) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(network(images + noise(images)), labels)


FIVE_EPOCHS = recipe(Phase(2, "adam", 1e-2), Phase(3, "sgd", 0.1, 2), momentum=0.9)


def network_trainer(seed: int, weights_seed: int | None = None, sigma: float = 0.1, augment: str = "shift") -> Trainer:
    module = initialised(network, seed if weights_seed is None else weights_seed)
    noise = TrainingNoise("gaussian", sigma, CPU)
    return make(module, noisy_cross_entropy, FIVE_EPOCHS, some_images(augment=augment, side=6), seed=seed, noise=noise)


def weights(trainer: Trainer) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in trainer.network.state_dict().items()}


def test_same_seed_same_weights() -> None:
    def trained(*values: Any, **options: Any) -> tuple[list[tuple[int, float, float, int]], dict[str, list[float]]]:
        trainer = network_trainer(*values, **options)
        return finish(trainer), weights(trainer)

    first = trained(0)
    torch.rand(7)  # nothing that others draw may matter
    assert trained(0) == first
    others = [
        first,
        trained(1, weights_seed=0),
        trained(0, weights_seed=1),
        trained(0, sigma=0.2),
        trained(0, augment="none"),
    ]
    losses = [results[0][1] for results, _ in others]
    assert len(set(losses)) == len(others)


def test_torchs_own_generator_is_left_alone() -> None:
    torch.rand(3)  # else it might stand where an earlier training, not so careful, left it
    before = torch.get_rng_state()
    trainer = network_trainer(0)
    assert torch.equal(torch.get_rng_state(), before)
    finish(trainer)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_are_the_seeds() -> None:
    def built(seed: int) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in initialised(network, seed).parameters()])

    first = built(3)
    torch.rand(5)
    assert torch.equal(built(3), first)
    assert not torch.equal(built(4), first)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[list[dict[str, Any]], list[tuple[int, float, float, int]], dict[str, list[float]]]:
    """The state after each epoch, the results, and the weights at the end."""
    trainer, states, results = network_trainer(0), [], []
    while not trainer.finished:
        result = trainer.train_epoch(silent(trainer))
        results.append((result.epoch, result.loss, result.learning_rate, result.steps))
        trainer.network.eval()  # as a measurement does
        states.append(through_a_file(trainer.state()))
    return states, results, weights(trainer)


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_a_continued_training_is_the_undisturbed_one(done: int, undisturbed: Any) -> None:
    """Wherever it was stopped: among Adam's epochs, at the switch, and among SGD's."""
    states, results, end = undisturbed
    trainer = network_trainer(0, weights_seed=99)
    torch.rand(done)
    trainer.load(states[done - 1])
    assert (trainer.epochs_done, trainer.steps_done) == (done, 3 * done)
    assert finish(trainer) == results[done:]
    assert weights(trainer) == end
    assert trainer.steps_done == 15


def test_the_layers_train_after_they_were_measured() -> None:
    trainer = network_trainer(0)
    trainer.network.eval()
    trainer.train_epoch(silent(trainer))
    assert trainer.network.training
    assert int(trainer.network.state_dict()["network.1.num_batches_tracked"]) == 3


# --- steps -------------------------------------------------------------------------------------------------------


def test_learning_rate_drops_as_the_phase_says() -> None:
    """With a constant gradient of 1, plain SGD moves by 3 steps x (0.1 + 0.1 + 0.01 + 0.01)."""
    trainer = make(Weights(), gradients(*[[1.0]] * 4), recipe(Phase(4, "sgd", 0.1, 2)))
    assert [rate for _, _, rate, _ in finish(trainer)] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert trainer.network.network.weight.item() == pytest.approx(-3 * 0.22)


@pytest.mark.parametrize("resumed", [False, True])
def test_adam_then_sgd_switches(resumed: bool) -> None:
    """Adam moves by its rate under any constant gradient; SGD by rate x (5, 9.5, 13.55), its momentum from nothing,
    the schedule from its own first epoch.
    """
    how = recipe(Phase(2, "adam", 1e-3), Phase(3, "sgd", 1e-2, 2), batch_size=20, momentum=0.9)
    kinds, moved = [], []
    for trainer, place in followed(how, gradients(*[[5.0]] * 5), resumed):
        state = trainer.state()["optimizer"]["state"][0]
        kinds.append("adam" if "exp_avg" in state else "sgd" if "momentum_buffer" in state else "none")
        moved.append(place)
    assert kinds == ["adam"] * 2 + ["sgd"] * 3
    assert moved == pytest.approx([-0.001, -0.002, -0.052, -0.147, -0.16055], abs=1e-9)


@pytest.mark.parametrize("resumed", [False, True])
def test_momentum_does_not_outlive_its_phase(resumed: bool) -> None:
    """0.1 x (1, 1.9) in each phase; one SGD throughout would go on with 2.71."""
    how = recipe(Phase(2, "sgd", 0.1), Phase(2, "sgd", 0.1), batch_size=20, momentum=0.9)
    assert places(how, gradients(*[[1.0]] * 4), resumed) == pytest.approx([-0.1, -0.29, -0.39, -0.58])


@pytest.mark.parametrize("resumed", [False, True])
def test_adams_moments_do_not_outlive_their_phase(resumed: bool) -> None:
    """A fresh Adam's first step is its rate, even where the gradient turns round."""
    how = recipe(Phase(2, "adam", 0.1), Phase(1, "adam", 0.01), batch_size=20)
    loss = gradients([1.0], [1.0], [-300.0])
    assert places(how, loss, resumed) == pytest.approx([-0.1, -0.2, -0.19])


@pytest.mark.parametrize("resumed", [False, True])
def test_momentum_and_moments_last_within_a_phase(resumed: bool) -> None:
    how = recipe(Phase(3, "sgd", 0.1), batch_size=20, momentum=0.9)
    assert places(how, gradients(*[[1.0]] * 3), resumed) == pytest.approx([-0.1, -0.29, -0.561])
    # Adam, gradients 3 then 1: m = .1 x (.9 x 3 + 1) / .19, v = .001 x (.999 x 9 + 1) / .001999
    how = recipe(Phase(2, "adam", 0.1), batch_size=20)
    expected = [-0.1, -0.1 - 0.1 * (0.37 / 0.19) / (0.009991 / 0.001999) ** 0.5]
    assert places(how, gradients([3.0], [1.0]), resumed) == pytest.approx(expected)


def test_the_papers_adam_then_sgd_switches_after_50_of_600_epochs() -> None:
    published = RECIPES["salman2020-cifar10-stab-2"]
    module = Weights()
    trainer = make(module, gradients(*[[1.0]] * 600), published, some_images(1))
    kinds, rates = [], []
    while not trainer.finished:
        rates.append(trainer.train_epoch(silent(trainer)).learning_rate)
        kinds.append("exp_avg" in trainer.state()["optimizer"]["state"][0])
    assert kinds == [True] * 50 + [False] * 550
    expected = [1e-3] * 50 + [1e-3] * 100 + [1e-4] * 100 + [1e-5] * 100 + [1e-6] * 100 + [1e-7] * 100 + [1e-8] * 50
    assert rates == pytest.approx(expected)


def test_weight_decay_and_momentum_reach_the_optimizer() -> None:
    """Without a gradient, SGD of rate 0.1 and decay 0.5 takes 1 to 0.95, then by 0.9 x 0.5 + 0.5 x 0.95 more."""
    module = Weights()
    module.weight.data += 1
    how = Recipe((Phase(2, "sgd", 0.1),), 20, 0.5, 0.9, "none", "this test")
    finish(make(module, gradients([0.0], [0.0]), how))
    assert module.weight.item() == pytest.approx(0.95 - 0.1 * (0.9 * 0.5 + 0.5 * 0.95))


@pytest.mark.parametrize(
    ("clip_norm", "moved"), [(None, [-3.0, -4.0]), (5.5, [-3.0, -4.0]), (1.0, [-0.6, -0.8]), (2.5, [-1.5, -2.0])]
)
def test_long_gradients_are_cut(clip_norm: float | None, moved: list[float]) -> None:
    """The gradient (3, 4) has length 5, over two parameters as over one."""
    how = recipe(Phase(1, "sgd", 1.0), batch_size=20, clip_norm=clip_norm)
    module = Weights(2)
    finish(make(module, gradients([3.0, 4.0]), how))
    assert module.weight.tolist() == pytest.approx(moved, rel=1e-5)

    pair = torch.nn.ModuleList([Weights(), Weights()])
    one, other = (part.weight for part in pair)
    finish(make(pair, lambda *_: 3 * one.sum() + 4 * other.sum(), how))
    assert [one.item(), other.item()] == pytest.approx(moved, rel=1e-5)


def test_an_epochs_loss_is_the_mean_over_its_images() -> None:
    """Batches of 7, 7 and 6 images with losses 1, 2 and 4; then all 8."""
    module = Weights()
    losses = iter([1.0, 2.0, 4.0, 8.0, 8.0, 8.0])
    trainer = make(module, lambda *_: next(losses) + 0 * module.weight.sum(), recipe(Phase(2, "sgd", 0.1)))
    assert [loss for _, loss, _, _ in finish(trainer)] == pytest.approx([(7 + 14 + 24) / 20, 8])


# --- what is refused ---------------------------------------------------------------------------------------------


def scripted(module: Weights, losses: Sequence[float]) -> Loss:
    left = iter(losses)
    return lambda *_: next(left) * (1 + module.weight.sum())


@pytest.mark.parametrize(
    ("bad", "printed", "step", "epoch", "rate", "smaller"),
    [
        (float("nan"), "nan", 1, 1, "0.2", "0.02"),
        (float("inf"), "inf", 5, 2, "0.2", "0.02"),
        (float("nan"), "nan", 9, 3, "0.02", "0.002"),
    ],
)
def test_a_loss_that_is_not_finite_stops(
    bad: float, printed: str, step: int, epoch: int, rate: str, smaller: str
) -> None:
    """The message counts steps from the start of training; the step is not taken."""
    module, untouched = Weights(), Weights()
    how = recipe(Phase(3, "sgd", 0.2, 2), momentum=0.9)
    with pytest.raises(RaysmoothError) as refused:
        finish(make(module, scripted(module, [0.5] * (step - 1) + [bad]), how))
    assert str(refused.value) == (
        f"network: the loss is {printed} at step {step} (epoch {epoch}, learning rate {rate}): write a smaller rate, "
        f"such as --learning-rate {smaller}{' --overwrite' if epoch > 1 else ''}"
    )
    with pytest.raises(StopIteration):
        finish(make(untouched, scripted(untouched, [0.5] * (step - 1)), how))
    assert module.weight.item() == untouched.weight.item()
    assert module.weight.isfinite().all()


def test_a_late_check_names_the_first_bad_step() -> None:
    losses = raysmooth.tune.training.trainer._EpochLosses("network", steps_before=30, epoch=4, rate=0.5, patience=4)
    for loss, images in ((1.0, 7), (2.0, 7), (3.0, 6)):
        losses.add(torch.tensor(loss), images)
    assert losses.total == 0
    losses.add(torch.tensor(4.0), 5)
    assert (losses.total, losses.latest) == (7 + 14 + 18 + 20, 4.0)
    losses.add(torch.tensor(1.0), 7)
    losses.add(torch.tensor(float("inf")), 7)
    losses.add(torch.tensor(float("nan")), 7)
    with pytest.raises(RaysmoothError, match=r"^network: the loss is inf at step 36 \(epoch 5, learning rate 0.5\)"):
        losses.check()


def test_an_epoch_ends_with_a_check_of_the_remaining_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = raysmooth.tune.training.trainer._EpochLosses
    monkeypatch.setattr(
        raysmooth.tune.training.trainer, "_EpochLosses", lambda *values: losses(*values[:-1], patience=2)
    )
    module = Weights()
    trainer = make(module, scripted(module, [1.0, 2.0, 4.0, 1.0, 1.0, float("inf")]), recipe(Phase(2, "sgd", 1e-20)))
    assert trainer.train_epoch(silent(trainer)).loss == pytest.approx((7 + 14 + 24) / 20)
    with pytest.raises(RaysmoothError, match=r"the loss is inf at step 6 \(epoch 2,"):
        trainer.train_epoch(silent(trainer))


def test_weights_that_end_not_finite_are_refused() -> None:
    module = torch.nn.Linear(1, 1)
    how = recipe(Phase(1, "sgd", 1e30), batch_size=20)
    with pytest.raises(RaysmoothError) as refused:
        finish(make(module, lambda *_: 1e30 * module.weight.sum(), how))
    assert str(refused.value) == (
        "network: weights are not finite at step 1 (epoch 1, learning rate 1e+30): write a smaller rate, "
        "such as --learning-rate 1e+29"
    )


# --- progress ----------------------------------------------------------------------------------------------------


class Recorded(EpochProgress):
    """Records the progress that a trainer reports."""

    def __init__(self) -> None:
        super().__init__("network", 2, 20, show=False)
        self.steps: list[tuple[int, int, float]] = []
        self.ends: list[tuple[int, float]] = []

    def step(self, epoch: int, images: int, loss: float) -> None:
        self.steps.append((epoch, images, loss))

    def epoch_ends(self, epoch: int, mean_loss: float, images_per_second: float) -> None:
        self.ends.append((epoch, mean_loss))


def test_every_step_and_epoch_is_reported() -> None:
    module, progress = Weights(), Recorded()
    trainer = make(module, scripted(module, [1.0, 2.0, 4.0] * 2), recipe(Phase(2, "sgd", 1e-20)))
    trainer.train_epoch(progress)
    trainer.train_epoch(progress)
    assert progress.steps == [(epoch, *step) for epoch in (1, 2) for step in ((7, 1.0), (7, 2.0), (6, 4.0))]
    assert progress.ends == [(1, pytest.approx(2.25)), (2, pytest.approx(2.25))]


@pytest.mark.parametrize(("show", "lines"), [(True, 10), (False, 0)])
def test_a_log_gets_about_ten_lines_and_a_silent_training_none(
    show: bool, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make(Weights(), gradients(*[[1.0]] * 30), recipe(Phase(30, "sgd", 0.1)))
    with EpochProgress("weights", 30, 20, show=show) as progress:
        while not trainer.finished:
            trainer.train_epoch(progress)
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == lines
    assert not captured.out
    if show:
        assert captured.err.splitlines()[-1].startswith("weights: epoch 30/30, loss -")
        assert captured.err.rstrip().endswith(" images/s")


@pytest.mark.parametrize(("epochs", "done", "lines"), [(1, 0, 1), (7, 0, 7), (95, 0, 10), (1000, 0, 10), (30, 15, 5)])
def test_lines_of_short_long_and_continued_trainings(
    epochs: int, done: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with EpochProgress("weights", epochs, 20, done) as progress:
        for epoch in range(done + 1, epochs + 1):
            progress.epoch_ends(epoch, 0.25, 1234.5)
    written = capsys.readouterr().err.splitlines()
    assert len(written) == lines
    assert written[-1] == f"weights: epoch {epochs}/{epochs}, loss 0.2500, 1,234 images/s"
