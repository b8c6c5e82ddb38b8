"""The training loop, one for classifiers and denoisers: what differs is the loss they hand in."""

from collections.abc import Callable
from math import isfinite
from time import monotonic

import numpy as np
import torch

from actors.refusal import Refusal
from tune.augment import AUGMENTATIONS
from tune.objectives import Noise
from tune.progress import EpochProgress
from tune.recipes import OPTIMIZERS, Recipe
from tune.training_data import Examples


def gaussian_noise(sigma: float, seed: int, device: torch.device) -> Noise:
    """A stream of N(0, sigma^2 I), sigma in pixel units, decided by `seed` and the kind of device."""
    generator = torch.Generator(device).manual_seed(seed)

    def noise(images: torch.Tensor) -> torch.Tensor:
        return sigma * torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)

    return noise


def initialised(build: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """What `build` returns, its random weights decided by `seed`; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def train(
    module: torch.nn.Module,
    examples: Examples,
    loss: Callable[[torch.Tensor, torch.Tensor, Noise], torch.Tensor],
    recipe: Recipe,
    sigma: float,
    seed: int,
    label: str,
    show: bool = True,
) -> None:
    """Minimise `loss(images, labels, noise)` over the parameters of `module`, in place; ends in eval mode.

    The examples, at least one, are on the module's device; `sigma` is the noise's, in pixel units; `label` is what
    progress and messages call the training. The same arguments with as many CPU threads give the same weights
    (on a GPU, up to the order of its sums). Raises Refusal, naming the step and the learning rate, as soon as the
    loss is not finite, and for weights that end so.
    """
    images, labels = examples.images, examples.labels
    order_seed, noise_seed, layer_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(3))
    order = torch.Generator().manual_seed(order_seed)
    noise = gaussian_noise(sigma, noise_seed, images.device)
    augment = AUGMENTATIONS[recipe.augment]
    optimizer = OPTIMIZERS[recipe.optimizer](module.parameters(), recipe)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, recipe.step_size, recipe.gamma)
    # Batches of equal size: the remainder of a plain split may be a few images, and BatchNorm's running
    # statistics (momentum 0.95 in DnCNN) would be theirs.
    batches = -(-len(images) // recipe.batch_size)
    cuda = [images.device] if images.device.type == "cuda" else []
    module.train()
    step = 0
    with torch.random.fork_rng(cuda), EpochProgress(label, recipe.epochs, len(images), show) as progress:
        torch.manual_seed(layer_seed)  # for layers that draw, such as dropout
        for epoch in range(1, recipe.epochs + 1):
            began, total = monotonic(), 0.0
            for chosen in torch.randperm(len(images), generator=order).tensor_split(batches):
                chosen = chosen.to(images.device)
                optimizer.zero_grad()
                value = loss(augment(images[chosen], order), labels[chosen], noise)
                step += 1
                rate = float(schedule.get_last_lr()[0])
                if not isfinite(current := value.item()):
                    raise _diverged(f"{label}: the loss is {current}", step, epoch, rate)
                value.backward()
                optimizer.step()
                total += current * len(chosen)
                progress.step(epoch, len(chosen), current)
            schedule.step()
            progress.epoch_ends(epoch, total / len(images), len(images) / (monotonic() - began))
    if not all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values()):
        raise _diverged(f"{label}: weights are not finite", step, recipe.epochs, rate)  # no loss came after them
    module.eval()


def _diverged(what: str, step: int, epoch: int, rate: float) -> Refusal:
    return Refusal(
        f"{what} at step {step} (epoch {epoch}, learning rate {rate:g}): write a smaller rate, "
        f"such as --learning-rate {rate / 10:g}"
    )
