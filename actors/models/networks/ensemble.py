"""Several networks as one: the mean of classifiers' logits (Horvath et al. 2022), of denoisers' pixels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from raysmooth.actors.models.answers import read_answer
from raysmooth.common.errors import RaysmoothError


class Ensemble(nn.Module):
    """Normalised images (B, C, H, W) -> logits (B, K), float32: the mean of the members' logits.

    With `consensus` of M members, less than all: where the first M have the same first largest logit, the mean of
    theirs, which has it too; elsewhere the mean of all. This is K-consensus of Horvath et al. 2022, a function of each
    image alone. The module computes all members for all images; `head`, `tail` and `settled` are for those who save
    passes.

    `names` say in messages which member is meant. `own_inputs`: the images have C channels for each member, one after
    the other, as `NormalizeEach` gives them. Members that answer labels, or differ in the number of classes, raise
    RaysmoothError.
    """

    def __init__(
        self, members: Sequence[nn.Module], names: Sequence[str], consensus: int | None = None, own_inputs: bool = False
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.names = tuple(names)
        self.consensus = consensus
        self.own_inputs = own_inputs

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        answers = self.answers(pixels)
        if self.consensus is None:
            return _sum(answers) / len(answers)
        head, agreed = _head(answers[: self.consensus])
        return torch.where(agreed[:, None], head / self.consensus, self.settled(head, _sum(answers[self.consensus :])))

    def answers(self, pixels: torch.Tensor, first: int = 0, last: int | None = None) -> list[torch.Tensor]:
        """The logits (B, K) of the members from `first` to before `last`, in float32 at least."""
        count = len(self.members)
        inputs = pixels.chunk(count, dim=1) if self.own_inputs else (pixels,) * count
        chosen = list(zip(self.members, self.names, inputs, strict=True))[first:last]
        return _same_classes([(name, read_answer(member(own), own)) for member, name, own in chosen])

    def head(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of the first `consensus` members' logits (B, K), and where they agree (B,)."""
        return _head(self.answers(pixels, 0, self.consensus))

    def tail(self, pixels: torch.Tensor) -> torch.Tensor:
        """The sum of the other members' logits (B, K)."""
        return _sum(self.answers(pixels, self.consensus or 0))

    def settled(self, head: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
        """The mean of all members' logits (B, K), from the two sums."""
        return (head + tail) / len(self.members)


class CallableEnsemble:
    """As `Ensemble` without `consensus`, of callables that are no torch modules, which get the same pixels."""

    def __init__(self, members: Sequence[Any], names: Sequence[str]) -> None:
        self.members = tuple(members)
        self.names = tuple(names)
        self.num_classes = getattr(members[0], "num_classes", 0)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        named = zip(self.names, self.members, strict=True)
        answers = _same_classes([(name, read_answer(member(pixels), pixels)) for name, member in named])
        return _sum(answers) / len(answers)


class MeanDenoiser(nn.Module):
    """Noisy pixels (B, C, H, W) -> the mean of the members' denoised pixels, in float32."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.in_float32 = any(getattr(member, "in_float32", False) for member in members)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return _sum([_precise(member(pixels)) for member in self.members]) / len(self.members)


class NormalizeEach(nn.Module):
    """Pixels (B, C, H, W) -> (B, M C, H, W): as each of M members wants them, one after the other."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([layer(pixels) for layer in self.layers], dim=1)


def _head(answers: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of `answers`, and where all of them are finite and have the same first largest logit."""
    stacked = torch.stack(list(answers))
    labels = stacked.argmax(dim=2)
    return _sum(answers), stacked.isfinite().all(dim=2).all(dim=0) & (labels == labels[0]).all(dim=0)


def _same_classes(answers: Sequence[tuple[str, torch.Tensor]]) -> list[torch.Tensor]:
    """The `answers` of members, each after its name, in float32 at least."""
    for name, answer in answers:
        if answer.ndim != 2:
            raise RaysmoothError(f"an ensemble is the mean of logits, and {name} answers labels: let it return logits")
        if answer.shape[1] != answers[0][1].shape[1]:
            raise RaysmoothError(
                f"{name} has {answer.shape[1]} classes, {answers[0][0]} has {answers[0][1].shape[1]}: give an ensemble "
                "members of the same classes"
            )
    return [_precise(answer) for _, answer in answers]


def _precise(answer: torch.Tensor) -> torch.Tensor:
    return answer if answer.dtype in (torch.float32, torch.float64) else answer.float()


def _sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
