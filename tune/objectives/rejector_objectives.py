"""Losses of rejectors. f is the classifier, D the denoiser, delta the noise; f and D are frozen."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from raysmooth.actors.attacks.soft_smoothing import Model
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, name_in
from raysmooth.tune.objectives.objective import FrozenNetworks, Noise, ObjectiveEntry, RejectorObjective, draws_of

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LateModule("torch"), LateModule("torch.nn.functional")

Choose: TypeAlias = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]

HEADS: Registry[Choose] = Registry("head", {"clean": lambda clean, noisy: clean, "noisy": lambda clean, noisy: noisy})
"""(f(x), f(D(x + delta))), int64 (B,) each -> the head that learns from each draw.

Certifying asks the head of f(D(x + delta)). Equation 9 of the paper trains that of f(x); its text means the other.
"""


@dataclass(frozen=True)
class _OverDraws(Options, ABC):
    """BCE(H_k(D(x + delta)), b), the mean over images and T draws, which share a forward pass; k by `HEADS`."""

    T: PositiveInt = 20
    head: Annotated[str, name_in(HEADS)] = "noisy"

    @abstractmethod
    def target(self, answered: "torch.Tensor", clean: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        """As of `RejectorObjective`."""

    def __call__(
        self,
        rejector: Model,
        frozen: FrozenNetworks,
        images: "torch.Tensor",
        labels: "torch.Tensor",
        noise: Noise,
    ) -> "torch.Tensor":
        with torch.no_grad():
            observed = frozen.observe((images + draws_of(noise, images, self.T)).flatten(0, 1))
            answered = observed.logits.argmax(dim=1)
            clean = frozen.classify(images).repeat(self.T)
            targets = self.target(answered, clean, labels.repeat(self.T))
            learning = HEADS[self.head](clean, answered)
        heads = rejector(observed.denoised, observed.features)
        asked = heads.gather(1, learning.unsqueeze(1)).squeeze(1)
        return functional.binary_cross_entropy_with_logits(asked, targets.to(asked.dtype))


@dataclass(frozen=True)
class Disagreement(_OverDraws):
    """b is 1 where f(D(x + delta)) differs from f(x), the classifier's own answer to the clean image."""

    needs_labels: ClassVar[bool] = False

    def target(self, answered: "torch.Tensor", clean: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        return answered != clean


@dataclass(frozen=True)
class Wrong(_OverDraws):
    """b is 1 where f(D(x + delta)) differs from the true label y."""

    needs_labels: ClassVar[bool] = True

    def target(self, answered: "torch.Tensor", clean: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        return answered != labels


_SHEIKHOLESLAMI = "Sheikholeslami et al. 2022"

REJECTOR_OBJECTIVES: Registry[ObjectiveEntry[RejectorObjective]] = Registry(
    "rejector objective",
    {
        "disagreement": ObjectiveEntry(
            Disagreement,
            "noisy images are rejected whose class is not that of the clean image",
            f"{_SHEIKHOLESLAMI}, equations 7 to 9",
        ),
        "wrong": ObjectiveEntry(
            Wrong, "noisy images are rejected whose class is not their label", f"{_SHEIKHOLESLAMI}, footnote 2"
        ),
    },
)
