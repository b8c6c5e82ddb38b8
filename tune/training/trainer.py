"""The training loop of classifiers and denoisers, which differ only in their loss."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch.distributed import all_reduce
from torch.nn.parallel import DistributedDataParallel

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.phases import OPTIMIZERS
from raysmooth.tune.recipes.recipe import Recipe
from raysmooth.tune.training.networks import without_overrun
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.training_data import Images, Step
from raysmooth.tune.training.training_sigmas import TrainingSigmas

Loss: TypeAlias = Callable[[InPrecision, torch.Tensor, torch.Tensor, TrainingNoise, int, int], torch.Tensor]
"""(network in its precision, images, labels, noise, epochs done, steps done) -> a scalar, the mean over the images."""

AnyModule = TypeVar("AnyModule", bound=torch.nn.Module)

SIGMAS = 1
"""The purpose of the seeds of the noise on which sigmas move; those of all else have none."""

UNCHECKED = 20
"""Steps on a GPU between checks of the losses: each check waits for all queued work."""


@dataclass(frozen=True)
class WorkerRank:
    """The place of this process, from 0, among the `world_size` workers that share each batch."""

    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def local(self, batch: int) -> slice:
        """The images of this worker in a batch of `batch` images; the workers' numbers differ by one at most."""
        return slice(batch * self.rank // self.world_size, batch * (self.rank + 1) // self.world_size)


@dataclass(frozen=True)
class EpochResult:
    """`epoch` from 1, its mean loss, learning rate, optimizer steps, and training speed."""

    epoch: int
    loss: float
    learning_rate: float
    steps: int
    images_per_second: float


class _LossModule(torch.nn.Module):
    """The loss as a module: one forward pass per step for DistributedDataParallel, however often the objective calls
    the network.
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
    """Minimises a loss over the parameters of a network, in place, one epoch per call.

    The order of the images, their augmentation and their noise depend on `seed` and the epoch alone: a training
    resumed from `state` equals an uninterrupted one, and several workers train on the same images and noise as one
    (BatchNorm's statistics are those of each worker's local images). A batch of the recipe is split into `chunks`
    steps. `label` names the training in progress lines and messages. With `sigmas`, each image has its own, which moves
    before the step that the image is in.
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
        worker: WorkerRank | None = None,
        sigmas: TrainingSigmas | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.epochs_done = 0
        self.steps_done = 0
        self._images = images
        self._noise = noise
        self._seed = seed
        self._label = label
        self._worker = worker or WorkerRank()
        self._sigmas = sigmas
        self._device = next(network.parameters()).device
        self._optimizer: torch.optim.Optimizer | None = None
        # Batches of equal size: a remainder of a few images would dominate BatchNorm's running statistics (momentum
        # 0.95 in DnCNN).
        self.steps_per_epoch = ceil(len(images) / max(1, recipe.batch_size // chunks))
        if len(images) // self.steps_per_epoch < self._worker.world_size:
            raise RaysmoothError(
                f"steps of {len(images) // self.steps_per_epoch} images cannot be shared by {self._worker.world_size} "
                "workers: write a larger --batch-size or fewer --workers"
            )
        module = _LossModule(network, loss)
        self._loss: torch.nn.Module = module
        if self._worker.world_size > 1:
            self._loss = DistributedDataParallel(module)

    @property
    def finished(self) -> bool:
        return self.epochs_done >= self.recipe.epochs

    def state(self) -> dict[str, Any]:
        """All that the next epochs depend on; tensors are shared with the training, not copied."""
        assert self._optimizer is not None
        state = {
            "epochs_done": self.epochs_done,
            "steps_done": self.steps_done,
            "network": self.network.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        return state if self._sigmas is None else {**state, "sigmas": self._sigmas.values}

    def load(self, state: dict[str, Any]) -> None:
        """Resume from a `state` of a training with the same recipe, or with one whose numbers differ. A state that does
        not fit raises any exception.
        """
        self.epochs_done = state["epochs_done"]
        self.steps_done = state["steps_done"]
        self.network.network.load_state_dict(state["network"])
        number, _ = self.recipe.phase_of(self.epochs_done - 1)
        self._optimizer = self._fresh_optimizer(number)
        groups = [{key: value for key, value in g.items() if key != "params"} for g in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self._optimizer.state.items():
            if any(tensor.shape not in (parameter.shape, ()) for tensor in moments.values()):
                raise ValueError("moments of another shape than their parameter")
        for group, own in zip(self._optimizer.param_groups, groups, strict=True):
            group.update(own)  # moments come from the state, weight decay and momentum from the recipe
        if (self._sigmas is None) != (state.get("sigmas") is None):
            raise ValueError("sigmas of images' own, or none, against those of this training")
        if self._sigmas is not None:
            self._sigmas.load(state["sigmas"])

    def train_epoch(self, progress: EpochProgress) -> EpochResult:
        """Train on every image once.

        Raises RaysmoothError, naming the step and the learning rate, for a loss that is not finite (on a GPU, within
        `UNCHECKED` steps) and for weights that are not finite after the epoch.
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
        moving = self._sigmas is not None and self._sigmas.moves_in(epoch)
        sigma_seeds = _seeds(self._seed, epoch, self.steps_per_epoch, SIGMAS)
        losses = _EpochLosses(self._label, self.steps_done, epoch, rate, 1 if self._device.type == "cpu" else UNCHECKED)
        began = monotonic()
        self._loss.train()
        with ExitStack() as stack:
            on_gpu = self._device.type == "cuda"
            stack.enter_context(torch.random.fork_rng([self._device] if on_gpu else []))
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
            stack.enter_context(without_overrun(self.network, self._device))
            torch.manual_seed(layer_seed + self._worker.rank)  # for random layers such as dropout
            batches = self._images.batches(steps)
            for step, noise_seed, sigma_seed, (images, labels) in zip(
                steps, seeds[1::2], sigma_seeds, batches, strict=True
            ):
                batch = len(step.positions)
                own_sigmas = None
                if self._sigmas is not None and moving:
                    self._sigmas.ascend(self.network, images, step, sigma_seed)
                    own_sigmas = self._sigmas.of(step)
                self._noise.begin(noise_seed, batch, step.local, own_sigmas)
                self._optimizer.zero_grad()
                loss = self._loss(images, labels, self._noise, epoch, self.steps_done)
                losses.add(loss.detach(), len(images))
                # Gradients are averaged over the workers, whose numbers of images may differ by one.
                (loss * (len(images) * self._worker.world_size / batch)).backward()
                if self.recipe.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
                self._optimizer.step()
                self.steps_done += 1
                progress.step(epoch + 1, batch, losses.latest)
        losses.check()
        if self._sigmas is not None and moving and self._worker.world_size > 1:
            self._sigmas.gather(torch.cat([step.positions[step.local] for step in steps]))
        self.epochs_done += 1
        if not all(bool(tensor.isfinite().all()) for tensor in self.network.state_dict().values()):
            raise diverged(f"{self._label}: weights are not finite", self.steps_done, epoch, rate)
        mean = self._mean(losses.total)
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
            Step(positions, self._worker.local(len(positions)), seed)
            for positions, seed in zip(order.tensor_split(self.steps_per_epoch), seeds, strict=True)
        ]

    def _mean(self, total: float) -> float:
        """Mean loss over the epoch's images; `total` is the sum over this worker's."""
        if self._worker.world_size == 1:
            return total / len(self._images)
        summed = torch.tensor(total, device=self._device, dtype=torch.float64)
        all_reduce(summed)
        return float(summed) / len(self._images)


class _EpochLosses:
    """An epoch's losses, checked every `patience` steps."""

    def __init__(self, label: str, steps_before: int, epoch: int, rate: float, patience: int) -> None:
        self.total = 0.0
        self.latest = float("nan")
        self._label, self._checked, self._epoch, self._rate = label, steps_before, epoch, rate
        self._patience = patience
        self._unchecked: list[tuple[torch.Tensor, int]] = []

    def add(self, loss: torch.Tensor, images: int) -> None:
        self._unchecked.append((loss, images))
        if len(self._unchecked) >= self._patience:
            self.check()

    def check(self) -> None:
        """Add up the losses not yet checked; raises RaysmoothError for one that is not finite."""
        if not self._unchecked:
            return
        losses = torch.stack([loss for loss, _ in self._unchecked]).double().cpu().numpy()
        if not np.isfinite(losses).all():
            first = int(np.argmin(np.isfinite(losses)))
            step = self._checked + first + 1
            raise diverged(f"{self._label}: the loss is {losses[first]}", step, self._epoch, self._rate)
        self.total += float(losses @ np.array([images for _, images in self._unchecked]))
        self.latest = float(losses[-1])
        self._checked += len(losses)
        self._unchecked.clear()


def initialised(build: Callable[[], AnyModule], seed: int) -> AnyModule:
    """The result of `build`, with random weights decided by `seed`; torch's own generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def diverged(what: str, step: int, epoch: int, rate: float) -> RaysmoothError:
    """The error for a training that diverged at `step`, from 1, of `epoch`, from 0."""
    overwrite = " --overwrite" if epoch else ""  # the folder holds epochs trained at this rate
    return RaysmoothError(
        f"{what} at step {step} (epoch {epoch + 1}, learning rate {rate:g}): write a smaller rate, "
        f"such as --learning-rate {rate / 10:g}{overwrite}"
    )


def _seeds(seed: int, epoch: int, count: int, *purpose: int) -> list[int]:
    """`count` seeds of 63 bits for this epoch and purpose alone."""
    state = np.random.SeedSequence(seed, spawn_key=(epoch, *purpose)).generate_state(count, np.uint64)
    return [int(word >> np.uint64(1)) for word in state]
