"""The training loop, one for classifiers and denoisers: what differs is the loss they hand in."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.distributed import all_reduce
from torch.nn.parallel import DistributedDataParallel

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.phases import OPTIMIZERS
from raysmooth.tune.recipes.precision import InPrecision
from raysmooth.tune.recipes.recipes import Recipe
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.training_data import Images, Step

Loss: TypeAlias = Callable[[InPrecision, torch.Tensor, torch.Tensor, TrainingNoise, int, int], torch.Tensor]
"""(network in its precision, images, labels, noise, epochs done, steps done) -> a scalar, the mean over the images."""

UNCHECKED = 20
"""Most steps on a GPU whose losses are not yet looked at: each look waits for all that was sent there."""


@dataclass(frozen=True)
class WorkerRank:
    """Which of `workers` equal workers this process is, `rank` from 0."""

    rank: int = 0
    workers: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """Which images of a batch of so many are this worker's; parts differ by an image at most."""
        return slice(batch * self.rank // self.workers, batch * (self.rank + 1) // self.workers)


@dataclass(frozen=True)
class EpochResult:
    """`epoch` from 1, mean loss, the learning rate it had, optimizer steps in it, images trained on a second."""

    epoch: int
    loss: float
    learning_rate: float
    steps: int
    images_per_second: float


class _LossModule(torch.nn.Module):
    """The loss as a module, so that an epoch's step is one forward pass to DistributedDataParallel, however often an
    objective asks the network.
    """

    def __init__(self, network: InPrecision, loss: Loss) -> None:
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor, noise: TrainingNoise, epoch: int, step: int
    ) -> torch.Tensor:
        return self._loss(self.network, images, labels, noise, epoch, step)


class Trainer:
    """Minimises a loss over the parameters of a network, in place, an epoch a call.

    The order of the images, their augmentation and their noise depend on `seed` and the epoch alone: a training that
    is continued from `state` is the undisturbed one, and several workers train on what one would (BatchNorm's
    statistics are each worker's own part's). A batch of the recipe is split into `chunks` steps. `label` is what
    progress and messages call the training.
    """

    def __init__(
        self,
        network: InPrecision,
        loss: Loss,
        images: Images,
        noise: TrainingNoise,
        recipe: Recipe,
        seed: int,
        label: str,
        chunks: int = 1,
        share: WorkerRank | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.epochs_done = 0
        self.steps_done = 0
        self._images = images
        self._noise = noise
        self._seed = seed
        self._label = label
        self._share = share or WorkerRank()
        self._device = next(network.parameters()).device
        self._optimizer: torch.optim.Optimizer | None = None
        # Batches of equal size: the remainder of a plain split may be a few images, and BatchNorm's running
        # statistics (momentum 0.95 in DnCNN) would be theirs.
        self.steps_per_epoch = ceil(len(images) / max(1, recipe.batch_size // chunks))
        if len(images) // self.steps_per_epoch < self._share.workers:
            raise RaysmoothError(
                f"steps of {len(images) // self.steps_per_epoch} images cannot be shared by {self._share.workers} "
                "workers: write a larger --batch-size or fewer --workers"
            )
        module = _LossModule(network, loss)
        self._loss: torch.nn.Module = module
        if self._share.workers > 1:
            self._loss = DistributedDataParallel(module)

    @property
    def finished(self) -> bool:
        return self.epochs_done >= self.recipe.epochs

    def state(self) -> dict[str, Any]:
        """All that the next epochs depend on; tensors are the training's own, not copies."""
        assert self._optimizer is not None
        return {
            "epochs_done": self.epochs_done,
            "steps_done": self.steps_done,
            "network": self.network.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned in a training with the same recipe, or one whose numbers differ."""
        self.epochs_done = state["epochs_done"]
        self.steps_done = state["steps_done"]
        self.network.network.load_state_dict(state["network"])
        number, _ = self.recipe.phase_of(self.epochs_done - 1)
        self._optimizer = self._fresh_optimizer(number)
        told = [{key: value for key, value in g.items() if key != "params"} for g in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        for group, own in zip(self._optimizer.param_groups, told, strict=True):
            group.update(own)  # moments are the state's, weight decay and momentum the recipe's

    def train_epoch(self, progress: EpochProgress) -> EpochResult:
        """Train on every image once. Raises RaysmoothError, naming the step and the learning rate, as soon as the loss is not
        finite (on a GPU, within `UNCHECKED` steps), and for weights that end so.
        """
        epoch = self.epochs_done
        number, within = self.recipe.phase_of(epoch)
        phase = self.recipe.phases[number]
        if self._optimizer is None or within == 0:
            self._optimizer = self._fresh_optimizer(number)
        rate = phase.rate(within)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        order_seed, layer_seed, *seeds = _seeds(self._seed, epoch, 2 + 2 * self.steps_per_epoch)
        steps = self._steps(order_seed, seeds[::2])
        looks = _LossesSoFar(self._label, self.steps_done, epoch, rate, 1 if self._device.type == "cpu" else UNCHECKED)
        began = monotonic()
        self._loss.train()
        with ExitStack() as stack:
            on_gpu = self._device.type == "cuda"
            stack.enter_context(torch.random.fork_rng([self._device] if on_gpu else []))
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
            torch.manual_seed(layer_seed + self._share.rank)  # for layers that draw, such as dropout
            batches = self._images.batches(steps)
            for step, noise_seed, (images, labels) in zip(steps, seeds[1::2], batches, strict=True):
                batch = len(step.positions)
                self._noise.begin(noise_seed, batch, step.part)
                self._optimizer.zero_grad()
                loss = self._loss(images, labels, self._noise, epoch, self.steps_done)
                looks.add(loss.detach(), len(images))
                # Gradients are averaged over the workers, whose parts may differ by an image.
                (loss * (len(images) * self._share.workers / batch)).backward()
                if self.recipe.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
                self._optimizer.step()
                self.steps_done += 1
                progress.step(epoch + 1, batch, looks.latest)
        looks.look()
        self.epochs_done += 1
        if not all(bool(tensor.isfinite().all()) for tensor in self.network.state_dict().values()):
            raise diverged(f"{self._label}: weights are not finite", self.steps_done, epoch, rate)
        mean = self._mean(looks.total)
        speed = len(self._images) / (monotonic() - began)
        progress.epoch_ends(epoch + 1, mean, speed)
        return EpochResult(epoch + 1, mean, rate, self.steps_per_epoch, speed)

    def _fresh_optimizer(self, phase: int) -> torch.optim.Optimizer:
        chosen = self.recipe.phases[phase]
        return OPTIMIZERS[chosen.optimizer](
            self.network.parameters(), chosen.learning_rate, self.recipe.weight_decay, self.recipe.momentum
        )

    def _steps(self, order_seed: int, seeds: list[int]) -> list[Step]:
        order = torch.randperm(len(self._images), generator=torch.Generator().manual_seed(order_seed))
        return [
            Step(positions, self._share.part(len(positions)), seed)
            for positions, seed in zip(order.tensor_split(self.steps_per_epoch), seeds, strict=True)
        ]

    def _mean(self, total: float) -> float:
        """Mean loss over the epoch's images, of which this worker's add up to `total`."""
        if self._share.workers == 1:
            return total / len(self._images)
        summed = torch.tensor(total, device=self._device, dtype=torch.float64)
        all_reduce(summed)
        return float(summed) / len(self._images)


class _LossesSoFar:
    """An epoch's losses, looked at every `patience` steps."""

    def __init__(self, label: str, steps_before: int, epoch: int, rate: float, patience: int) -> None:
        self.total = 0.0
        self.latest = float("nan")
        self._label, self._looked, self._epoch, self._rate = label, steps_before, epoch, rate
        self._patience = patience
        self._waiting: list[tuple[torch.Tensor, int]] = []

    def add(self, loss: torch.Tensor, images: int) -> None:
        self._waiting.append((loss, images))
        if len(self._waiting) >= self._patience:
            self.look()

    def look(self) -> None:
        """Add up what waits; raises RaysmoothError for a loss that is not finite."""
        if not self._waiting:
            return
        losses = torch.stack([loss for loss, _ in self._waiting]).double().cpu().numpy()
        if not np.isfinite(losses).all():
            first = int(np.argmin(np.isfinite(losses)))
            step = self._looked + first + 1
            raise diverged(f"{self._label}: the loss is {losses[first]}", step, self._epoch, self._rate)
        self.total += float(losses @ np.array([images for _, images in self._waiting]))
        self.latest = float(losses[-1])
        self._looked += len(losses)
        self._waiting.clear()


def initialised(build: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """What `build` returns, its random weights decided by `seed`; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def diverged(what: str, step: int, epoch: int, rate: float) -> RaysmoothError:
    """What to say of a training that left the finite numbers at `step`, from 1, of `epoch`, from 0."""
    anew = " --overwrite" if epoch else ""  # else the epochs before, at this rate, would be in the way
    return RaysmoothError(
        f"{what} at step {step} (epoch {epoch + 1}, learning rate {rate:g}): write a smaller rate, "
        f"such as --learning-rate {rate / 10:g}{anew}"
    )


def _seeds(seed: int, epoch: int, count: int) -> list[int]:
    """`count` seeds of 63 bits that belong to this epoch alone."""
    state = np.random.SeedSequence(seed, spawn_key=(epoch,)).generate_state(count, np.uint64)
    return [int(word >> np.uint64(1)) for word in state]
