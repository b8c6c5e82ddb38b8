"""Attacks: perturbations within an l2 ball that make a soft smoothed classifier fail. One entry per attack.

An attack uses fixed draws of noise (m, B, C, H, W) and returns images (B, C, H, W) in [0, 1], at l2 distance at most
epsilon from its inputs. It runs the classifier in eval mode and adds no gradients to its parameters.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import cos, pi
from typing import TYPE_CHECKING, TypeAlias

from raysmooth.actors.attacks.soft_smoothing import Model, logits_of_draws, smoothed_cross_entropy
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")

Attack: TypeAlias = "Callable[[Model, torch.Tensor, torch.Tensor, torch.Tensor, float, int], torch.Tensor]"
"""`attack(classifier, images, labels, noises, epsilon, steps)` returns the attacked images, detached."""

DDN_GAMMA = 0.05
"""Relative change of the norm in a step of DDN."""


def pgd(
    classifier: Model,
    images: "torch.Tensor",
    labels: "torch.Tensor",
    noises: "torch.Tensor",
    epsilon: float,
    steps: int,
) -> "torch.Tensor":
    """Projected gradient ascent, starting at the images, in steps of length 2 epsilon / steps.

    An image with gradient zero does not move.
    """
    attacked = images.detach()
    with evaluating(classifier):
        for _ in range(steps):
            _, gradient = _ascent(classifier, attacked, labels, noises)
            perturbation = attacked - images + 2 * epsilon / steps * _unit(gradient)
            attacked = (images + _within(perturbation, epsilon)).clamp(0, 1)
    return attacked.detach()


def ddn(
    classifier: Model,
    images: "torch.Tensor",
    labels: "torch.Tensor",
    noises: "torch.Tensor",
    epsilon: float,
    steps: int,
) -> "torch.Tensor":
    """Decoupled direction and norm (Rony et al. 2019): the smallest perturbation found that fools most draws.

    The norm starts at epsilon, shrinks by 5 % after a successful step and grows by 5 % after an unsuccessful one; the
    result is projected onto the ball. Images misclassified from the start, or without a successful perturbation, do not
    change, as in the published code.
    """
    images = images.detach()
    farthest = torch.maximum(images, 1 - images).flatten(1).norm(dim=1)
    norm = torch.full_like(farthest, epsilon)
    perturbation = torch.zeros_like(images)
    best, best_norm = perturbation, farthest
    with evaluating(classifier):
        for step in range(steps):
            logits, gradient = _ascent(classifier, images + perturbation, labels, noises)
            fooled = logits.argmax(dim=2).mode(dim=0).values != labels
            distance = perturbation.flatten(1).norm(dim=1)
            better = fooled & (distance < best_norm)
            best, best_norm = _choose(better, perturbation, best), torch.where(better, distance, best_norm)
            length = 0.01 + 0.99 * (1 + cos(pi * step / steps)) / 2
            direction = _unit(perturbation + length * _unit(gradient))
            norm = torch.minimum(norm * torch.where(fooled, 1 - DDN_GAMMA, 1 + DDN_GAMMA), farthest)
            perturbation = (images + direction * _column(norm, images)).clamp(0, 1) - images
    return (images + _within(best, epsilon)).clamp(0, 1)


ATTACKS: Registry[Attack] = Registry("attack", {"pgd": pgd, "ddn": ddn})


@contextmanager
def evaluating(classifier: Model) -> Iterator[None]:
    """Eval mode in the block; afterwards every module has its previous mode."""
    modes = [(module, module.training) for module in classifier.modules()]
    classifier.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _ascent(
    classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noises: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """The draws' logits at `images`, and for each image the gradient of the loss that attacks increase."""
    with torch.enable_grad():
        point = images.detach().requires_grad_()
        logits = logits_of_draws(classifier, point, noises)
        (gradient,) = torch.autograd.grad(smoothed_cross_entropy(logits, labels).sum(), point)
    return logits.detach(), gradient


def _unit(vectors: "torch.Tensor") -> "torch.Tensor":
    """Each image scaled to l2 norm 1; zeros stay zero."""
    return torch.nn.functional.normalize(vectors.flatten(1), dim=1).view_as(vectors)


def _within(vectors: "torch.Tensor", epsilon: float) -> "torch.Tensor":
    """Each image scaled down to l2 norm epsilon if it is larger."""
    return vectors.renorm(p=2, dim=0, maxnorm=epsilon)


def _column(values: "torch.Tensor", images: "torch.Tensor") -> "torch.Tensor":
    """One value per image, in a shape that broadcasts over images."""
    return values.view(-1, *[1] * (images.dim() - 1))


def _choose(where: "torch.Tensor", these: "torch.Tensor", those: "torch.Tensor") -> "torch.Tensor":
    return torch.where(_column(where, these), these, those)
