"""How the objective of an image changes with its noise level. The noise is the same at all levels, so that an image
moves along a line, image + level noise, and its derivative is one directional derivative of the classifier.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch.autograd import forward_ad

from raysmooth.common.errors import RaysmoothError

Logits = Callable[[torch.Tensor], torch.Tensor]
"""Pixels (B, C, H, W) to logits (B, K), float64."""

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Probabilities (B, K) and levels (B,) to radii (B,), as of `certified_radius`."""

_RELATIVE_STEP = 0.01
"""Half the distance of a central difference, relative to the level. In float32 much smaller ones measure rounding."""


@dataclass(frozen=True)
class Slopes:
    """Of each image, float64 (B,): the objective's `value` and its `slope` by the level; and its mean softmax
    `probabilities` (B, K). `finite`, bool (B,): whether all its logits were.
    """

    value: torch.Tensor
    slope: torch.Tensor
    probabilities: torch.Tensor
    finite: torch.Tensor


@torch.no_grad()
def mean_softmax(
    logits: Logits, images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, largest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (B, K) of `images` (B, C, H, W), each under its own n draws of unit `noise` (B, n, C, H, W) times
    `level` (B,), and whether all logits of an image were finite, (B,). A forward pass has at most `largest` draws.
    """
    return _means(_answers(logits, images, noise, level, largest), noise.shape[1])


def backward(
    logits: Logits, images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, objective: Objective, largest: int
) -> Slopes:
    """Reverse mode. Arguments as of `mean_softmax`; `objective` is a function of probabilities and levels.

    The draws of an image share a pass where they fit one. Otherwise its probabilities are computed first, without
    gradients, and then the gradient of what the objective is of them, part by part: one forward pass more.
    """
    draws = noise.shape[1]
    if draws <= largest:
        held = largest // draws
        parts = [
            _backward_at_once(logits, *whole, objective)
            for whole in zip(images.split(held), noise.split(held), level.split(held), strict=True)
        ]
        return Slopes(
            torch.cat([part.value for part in parts]),
            torch.cat([part.slope for part in parts]),
            torch.cat([part.probabilities for part in parts]),
            torch.cat([part.finite for part in parts]),
        )
    probabilities, finite = mean_softmax(logits, images, noise, level, largest)
    value, by_probabilities, slope = _derivatives(probabilities, level, objective)
    for place in range(len(images)):
        one = slice(place, place + 1)
        for part in noise[one].split(largest, dim=1):
            moved = level[one].clone().requires_grad_()
            with torch.enable_grad():
                softmax = logits(_moved(images[one], part, moved)).softmax(dim=1)
                weighted = (softmax * by_probabilities[one]).sum() / draws
            slope[one] += torch.autograd.grad(weighted, moved)[0]
    return Slopes(value, slope, probabilities, finite)


def _backward_at_once(
    logits: Logits, images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, objective: Objective
) -> Slopes:
    draws, level = noise.shape[1], level.clone().requires_grad_()
    with torch.enable_grad():
        probabilities, finite = _means(logits(_moved(images, noise, level)), draws)
        value = objective(probabilities, level)
    (slope,) = torch.autograd.grad(value.sum(), level)
    return Slopes(value.detach(), slope, probabilities.detach(), finite)


def forward(
    logits: Logits, images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, objective: Objective, largest: int
) -> Slopes:
    """Forward mode: each logit's derivative along the noise, in the pass that computes it. Arguments as of `backward`.

    Raises RaysmoothError for a classifier with an operation that torch cannot differentiate in forward mode.
    """
    _load_forward_mode()
    primals, tangents = [], []
    rows = _moved(images, noise, level)
    for row, along in zip(rows.split(largest), noise.flatten(0, 1).split(largest), strict=True):
        with torch.no_grad(), forward_ad.dual_level():
            try:
                answer = logits(forward_ad.make_dual(row, along))
            except NotImplementedError:
                raise RaysmoothError(
                    "the classifier has an operation that torch cannot differentiate in forward mode: write "
                    "--search ddrs:gradient=backward"
                ) from None
            primal, tangent = forward_ad.unpack_dual(answer)
            primals.append(primal)
            tangents.append(torch.zeros_like(primal) if tangent is None else tangent)
    answers, by_level = torch.cat(primals), torch.cat(tangents)
    softmax = answers.softmax(dim=1)
    moved = softmax * (by_level - (softmax * by_level).sum(dim=1, keepdim=True))
    return _chained(answers, moved, level, objective, noise.shape[1])


@cache
def _load_forward_mode() -> None:
    """Let torch load its forward mode, which warns of its own use of torch.jit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


def difference(
    logits: Logits, images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, objective: Objective, largest: int
) -> Slopes:
    """The central difference of the softmax at levels 1 % below and above, and its value between: three forward passes,
    for classifiers without gradients. Arguments as of `backward`.
    """
    step = _RELATIVE_STEP * level
    with torch.no_grad():
        below, answers, above = (
            _answers(logits, images, noise, at, largest) for at in (level - step, level, level + step)
        )
    width = (2 * step).repeat_interleave(noise.shape[1]).unsqueeze(1)
    by_level = (above.softmax(dim=1) - below.softmax(dim=1)) / width
    return _chained(answers, by_level, level, objective, noise.shape[1])


def _chained(
    answers: torch.Tensor, by_level: torch.Tensor, level: torch.Tensor, objective: Objective, draws: int
) -> Slopes:
    """From logits and derivatives of softmaxes of all draws (B n, K), by the chain rule."""
    probabilities, finite = _means(answers, draws)
    value, by_probabilities, slope = _derivatives(probabilities, level, objective)
    slope = slope + (by_probabilities * by_level.unflatten(0, (-1, draws)).mean(dim=1)).sum(dim=1)
    return Slopes(value, slope, probabilities, finite)


def _derivatives(
    probabilities: torch.Tensor, level: torch.Tensor, objective: Objective
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The objective's value (B,), and its derivatives by probabilities (B, K) and by level (B,)."""
    probabilities, level = probabilities.clone().requires_grad_(), level.clone().requires_grad_()
    with torch.enable_grad():
        value = objective(probabilities, level)
    by_probabilities, by_level = torch.autograd.grad(value.sum(), (probabilities, level))
    return value.detach(), by_probabilities, by_level


def _means(answers: torch.Tensor, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean softmaxes (B, K) of logits (B n, K), and whether all of an image's are finite (B,)."""
    finite = answers.detach().isfinite().all(dim=1).unflatten(0, (-1, draws)).all(dim=1)
    return answers.softmax(dim=1).unflatten(0, (-1, draws)).mean(dim=1), finite


def _answers(
    logits: Logits, images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, largest: int
) -> torch.Tensor:
    """Logits (B n, K), image by image, in passes of at most `largest` draws."""
    return torch.cat([logits(part) for part in _moved(images, noise, level).split(largest)])


def _moved(images: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Noisy pixels (B n, C, H, W), float32 and laid out as the noise is: each image under its n draws."""
    return (level.float().view(-1, 1, 1, 1, 1) * noise + images.unsqueeze(1)).flatten(0, 1)
