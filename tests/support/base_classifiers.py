"""Base classifiers for tests, written `base_classifiers:NAME` like a user's own.

Images decide their behaviour: some fail on bright images.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch


class Linear(torch.nn.Module):
    """argmax of a fixed random linear map, the same in every process."""

    def __init__(self, pixels: int = 64, classes: int = 10, seed: int = 3) -> None:
        super().__init__()
        weight = torch.randn(classes, pixels, generator=torch.Generator().manual_seed(seed))
        self.weight = torch.nn.Parameter(weight)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1) @ self.weight.T


def brightness(batch: torch.Tensor) -> torch.Tensor:
    return batch.flatten(1).mean(dim=1)


class Slow(Linear):
    """Takes `seconds` for a batch."""

    def __init__(self, seconds: float = 0.02, **options: int) -> None:
        super().__init__(**options)
        self.seconds = seconds

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return super().forward(batch)


class Gated(Slow):
    """Takes `seconds` for a batch, until the file `gate` exists; after `passes` batches a process waits for that."""

    def __init__(self, gate: str, passes: int, seconds: float = 0.02) -> None:
        super().__init__(seconds)
        self.gate = Path(gate)
        self.left = passes

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        while self.left == 0 and not self.gate.exists():
            time.sleep(0.02)
        self.left = max(0, self.left - 1)
        return Linear.forward(self, batch) if self.gate.exists() else super().forward(batch)


class Fragile(Linear):
    """NaN logits for a bright image, infinite ones for a very bright one, an exception for a dark one."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if ((brightness(batch) < 0.1) & (brightness(batch) > 0.01)).any():  # padding is black: ignore it
            raise ValueError("too dark\nsecond line")
        logits = super().forward(batch)
        logits[brightness(batch) > 0.85, 2] = float("nan")
        logits[brightness(batch) > 0.95, 2:5] = float("inf")
        return logits


class Dazzled(Linear):
    """NaN logits for a bright image."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        logits = super().forward(batch)
        logits[brightness(batch) > 0.85] = float("nan")
        return logits


class Kills(Linear):
    """Kills its process for a bright image."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if (brightness(batch) > 0.9).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(batch)


class OutOfMemory(Linear):
    """Has memory for batches of `limit` images; the process `spared` has enough for all. Larger batches are logged to
    the file `log`.
    """

    def __init__(self, limit: int, spared: int = 0, log: str = "/dev/null") -> None:
        super().__init__()
        self.limit = limit
        self.spared = spared
        self.log = log

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > self.limit and os.getpid() != self.spared:
            with open(self.log, "a") as log:
                log.write(f"{len(batch)}\n")
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 20.00 MiB\nsecond line")
        return super().forward(batch)


class Sick(Linear):
    """A GPU in a bad state: when the file `flag` exists, the process that removes it raises from then on."""

    def __init__(self, flag: str) -> None:
        super().__init__()
        self.flag = Path(flag)
        self.sick = False

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        if self.flag.exists():
            self.flag.unlink(missing_ok=True)
            self.sick = True
        if self.sick:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return super().forward(batch)


class OneAnswer(Linear):
    """One row of logits for the whole batch."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch)[:1]


class OneLogit(Linear):
    def __init__(self) -> None:
        super().__init__(classes=1)


class KillsOnce(Slow):
    """Removes the file `flag` once it exists, and kills its process: a single time in all."""

    def __init__(self, flag: str, seconds: float = 0.01) -> None:
        super().__init__(seconds=seconds)
        self.flag = Path(flag)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        try:
            self.flag.unlink()
        except FileNotFoundError:
            return super().forward(batch)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class Labels:
    """Not a torch module: returns labels, the brightness in tenths, as an API would."""

    num_classes = 10

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch.flatten(1).mean(dim=1) * 10).long().clamp(0, 9)


class NoMore(Labels):
    """Labels without their number."""

    num_classes = 0


class Random(torch.nn.Module):
    """Different weights in every process: it cannot be certified."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.linear(batch.flatten(1))


class Undecided(Linear):
    """Logits with chance in them, as of dropout that is left on."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch) + 3 * torch.randn(len(batch), 10)


class UndecidedLabels(Labels):
    """Labels by chance, from a service."""

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.randint(0, 10, (len(batch),))


class NotANumber(Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch) * float("nan")


class AnswersPairs(Linear):
    """Logits; in training a pair of them."""

    def forward(self, batch: torch.Tensor) -> object:
        logits = super().forward(batch)
        return (logits, logits) if self.training else logits


def frozen() -> torch.nn.Module:
    return Linear().requires_grad_(False)


class Certain(Linear):
    """Class 7 for every image, with a softmax of almost 1; its gradients are those of the pixels, times 0."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        logits = 0 * super().forward(batch)
        return logits + 40 * torch.nn.functional.one_hot(torch.tensor(7), 10)


def cut_off() -> Callable[[torch.Tensor], torch.Tensor]:
    """Logits without gradients, as of a service."""
    linear = Linear()

    def answer(batch: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return linear(batch)

    return answer


class FiveClasses(Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch)[:, :5]


def without_gradients() -> Callable[[torch.Tensor], torch.Tensor]:
    """A function whose logits torch cannot differentiate, as of another library or a service."""
    linear = Linear()
    return lambda batch: linear(batch.detach()).detach()


class ByTheBatch(torch.nn.Module):
    """Normalises by its batch even in eval mode: an image's label would depend on its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1, track_running_stats=False)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.norm(batch).flatten(1)[:, :10]


def by_the_batch() -> Callable[[torch.Tensor], torch.Tensor]:
    """A function, in which such a module is not seen."""
    module = ByTheBatch()
    return lambda batch: module(batch)


def digits_cnn_that_dies(once: str) -> torch.nn.Module:
    """digits_cnn that kills its process in the 25th training step and creates the file `once`; not if that exists, or
    is "never".
    """
    from raysmooth.actors.models.networks.digits import digits_cnn

    network = digits_cnn()
    steps = 0

    def die(module: torch.nn.Module, _: object) -> None:
        nonlocal steps
        steps += module.training
        if steps == 25 and once != "never" and not Path(once).exists():
            Path(once).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    network.register_forward_pre_hook(die)
    return network
