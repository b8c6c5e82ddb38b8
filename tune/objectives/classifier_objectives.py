"""Losses of classifiers. F is the classifier's softmax, delta the noise."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from raysmooth.actors.attacks.attacks import ATTACKS
from raysmooth.actors.attacks.soft_smoothing import Model, log_mean_softmax, logits_of_draws, smoothed_cross_entropy
from raysmooth.actors.noise.pixel_scale import refuse_large_distance
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, name_in
from raysmooth.tune.objectives.objective import ClassifierObjective, Noise, ObjectiveEntry, draws_of

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LateModule("torch"), LateModule("torch.nn.functional")


@dataclass(frozen=True)
class WholeBatch(Options):
    """Base of the objectives that do not split a recipe's batch into several optimizer steps."""

    @property
    def chunks(self) -> int:
        return 1


@dataclass(frozen=True)
class Clean(WholeBatch):
    """CE(F(x), y)."""

    needs_noise: ClassVar[bool] = False

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        return functional.cross_entropy(classifier(images), labels)


@dataclass(frozen=True)
class Gaussian(WholeBatch):
    """CE(F(x + delta), y)."""

    needs_noise: ClassVar[bool] = True

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        return functional.cross_entropy(classifier(images + noise(images)), labels)


@dataclass(frozen=True)
class Stability(WholeBatch):
    """CE(F(x), y) + lambda CE(F(x + delta), F(x)); gradients flow into the target F(x) as well."""

    lambda_: NonNegativeFloat = 2.0
    needs_noise: ClassVar[bool] = True

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        clean = classifier(images)
        noisy = classifier(images + noise(images))
        return functional.cross_entropy(clean, labels) + self.lambda_ * functional.cross_entropy(
            noisy, clean.softmax(dim=1)
        )


def divergence(logits: "torch.Tensor") -> "torch.Tensor":
    """Mean over draws and images of KL(mean softmax || softmax of the draw), from logits (m, B, K)."""
    log_mean = log_mean_softmax(logits)
    return (log_mean.exp() * (log_mean - logits.log_softmax(dim=2).mean(dim=0))).sum(dim=1).mean()


def entropy(logits: "torch.Tensor") -> "torch.Tensor":
    """Mean over images of the entropy of the mean softmax, from logits (m, B, K)."""
    log_mean = log_mean_softmax(logits)
    return -(log_mean.exp() * log_mean).sum(dim=1).mean()


def squared_difference(logits: "torch.Tensor") -> "torch.Tensor":
    """Mean over images of the squared l2 distance between the softmaxes of two draws, from logits (2, B, K)."""
    one, other = logits.softmax(dim=2)
    return (one - other).square().sum(dim=1).mean()


CONSISTENCY_LOSSES: Registry[Callable[["torch.Tensor", float, float], "torch.Tensor"]] = Registry(
    "consistency loss",
    {
        "cross-entropy": lambda logits, lambda_, eta: lambda_ * divergence(logits) + eta * entropy(logits),
        "kl": lambda logits, lambda_, eta: lambda_ * divergence(logits),
        "mse": lambda logits, lambda_, eta: lambda_ * squared_difference(logits),
    },
)
"""`loss(logits, lambda, eta)` is added to the cross-entropy; logits are those of all draws (m, B, K)."""


_PUBLISHED = "published, at sigma 0.25, 0.5 and 1: 10, 5 and 5 on MNIST, 20, 10 and 10 on CIFAR-10"


@dataclass(frozen=True)
class Consistency(Options):
    """Mean over m draws of CE(F(x + delta_i), y), and a term for agreement between the draws."""

    lambda_: Annotated[NonNegativeFloat, Field(description=_PUBLISHED)]
    m: PositiveInt = 2
    eta: NonNegativeFloat = 0.5
    loss: Annotated[str, name_in(CONSISTENCY_LOSSES)] = "cross-entropy"
    needs_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.loss == "mse" and self.m != 2:
            raise RaysmoothError(f"loss=mse compares two draws, not {self.m}: write m=2")

    @property
    def chunks(self) -> int:
        return self.m

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        logits = logits_of_draws(classifier, images, draws_of(noise, images, self.m))
        return _mean_cross_entropy(logits, labels) + CONSISTENCY_LOSSES[self.loss](logits, self.lambda_, self.eta)


@dataclass(frozen=True)
class SmoothAdv(Options):
    """Mean over m draws of CE(F(x' + delta_i), y), x' attacking -log mean_i F_y(x' + delta_i) under the same draws.

    A lambda above 0 adds the consistency term. The ball's radius grows to `epsilon` in `warmup` epochs.
    """

    attack: Annotated[str, name_in(ATTACKS)] = "pgd"
    steps: PositiveInt = 10
    epsilon: PositiveFloat = 1.0
    m: PositiveInt = 4
    warmup: NonNegativeFloat = 10.0
    lambda_: NonNegativeFloat = 0.0
    eta: NonNegativeFloat = 0.5
    needs_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        refuse_large_distance(self.epsilon, "epsilon")

    @property
    def chunks(self) -> int:
        return self.m

    def epsilon_at(self, epoch: int) -> float:
        return self.epsilon * min(1.0, (epoch + 1) / self.warmup) if self.warmup else self.epsilon

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        noises = draws_of(noise, images, self.m)
        attacked = ATTACKS[self.attack](classifier, images, labels, noises, self.epsilon_at(epoch), self.steps)
        logits = logits_of_draws(classifier, attacked, noises)
        loss = _mean_cross_entropy(logits, labels)
        return loss + CONSISTENCY_LOSSES["cross-entropy"](logits, self.lambda_, self.eta) if self.lambda_ else loss


@dataclass(frozen=True)
class Macer(WholeBatch):
    """Mean over images of -log mean_i F_y(x + delta_i) + lambda sigma / 2 hinge(gamma - (PhiInv(p1) - PhiInv(p2))),
    sigma being the image's own.

    p1 and p2 are the two largest of the mean softmax of beta times the logits, and only images whose p1 is the
    label's have the second term. It is zero in the first `deferral` epochs.
    """

    m: PositiveInt = 16
    lambda_: NonNegativeFloat = 16.0
    gamma: PositiveFloat = 8.0
    beta: PositiveFloat = 16.0
    deferral: NonNegativeFloat = 0.0
    needs_noise: ClassVar[bool] = True

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        logits = logits_of_draws(classifier, images, draws_of(noise, images, self.m))
        loss = smoothed_cross_entropy(logits, labels).mean()
        if epoch < self.deferral:
            return loss
        hinge = radius_hinge((self.beta * logits).softmax(dim=2).mean(dim=0), labels, self.gamma)
        # The ratios, not the sigmas, are inside the mean: with one sigma for all it is rounded as it always was.
        return loss + self.lambda_ * noise.sigma / 2 * (hinge * noise.sigma_ratios).mean()


def radius_hinge(probabilities: "torch.Tensor", labels: "torch.Tensor", gamma: float) -> "torch.Tensor":
    """max(0, gamma - (PhiInv(p1) - PhiInv(p2))) of each image whose largest probability is its label's, else 0 (B,).

    `probabilities` are (B, K). A gap that is not finite gives 0.
    """
    largest, classes = probabilities.topk(2, dim=1)
    first, second = largest.unbind(dim=1)
    with torch.no_grad():
        active = (classes[:, 0] == labels) & (torch.special.ndtri(first) - torch.special.ndtri(second) < gamma)
        active &= second >= torch.finfo(second.dtype).tiny  # below, PhiInv's slope overflows
    # Inactive probabilities must not reach ndtri: its infinite slope there times 0 would be a NaN gradient.
    first, second = (torch.where(active, probability, 0.5) for probability in (first, second))
    return torch.where(active, gamma - (torch.special.ndtri(first) - torch.special.ndtri(second)), 0.0)


def _mean_cross_entropy(logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
    """Mean over draws and images of the cross-entropy, from logits (m, B, K)."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)))


_JEONG = "Jeong & Shin 2020, supplement"

CLASSIFIER_OBJECTIVES: Registry[ObjectiveEntry[ClassifierObjective]] = Registry(
    "classifier objective",
    {
        "clean": ObjectiveEntry(Clean, "cross-entropy", "common practice"),
        "gaussian": ObjectiveEntry(Gaussian, "cross-entropy on noisy images", "Cohen et al. 2019, section 3.3"),
        "stability": ObjectiveEntry(
            Stability,
            "cross-entropy on clean images, and noisy predictions close to the clean ones",
            f"Li et al. 2019; {_JEONG} B",
        ),
        "consistency": ObjectiveEntry(
            Consistency,
            "cross-entropy on m noisy copies, and agreement between their predictions",
            f"{_JEONG} B and D",
        ),
        "smoothadv": ObjectiveEntry(
            SmoothAdv,
            "cross-entropy on m noisy copies of an adversarial image for the soft smoothed classifier",
            f"Salman et al. 2019; {_JEONG} B and E.1",
        ),
        "macer": ObjectiveEntry(
            Macer,
            "cross-entropy of the soft smoothed classifier, and a hinge loss for a certified radius up to gamma",
            f"Zhai et al. 2020; {_JEONG} B and E.2",
        ),
    },
)
