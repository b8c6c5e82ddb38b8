"""The base classifier: denoiser, normalisation, classifier and rejector as a single map from noisy images to labels."""

import operator
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch

from raysmooth.actors.models.answers import read_answer
from raysmooth.actors.models.rejection_rules import Rejector
from raysmooth.actors.models.stage_features import StageFeatures, Tap
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.limits import MOST_CLASSES

INVALID = -1
"""The label of a draw with logits that are not finite. It is counted separately, never as a class."""


class BaseClassifier(Protocol):
    """f o D of denoised smoothing (Salman et al. 2020, equation 3): the function that is sampled and certified.

    Any map from images to labels will do: a torch module, a vision API. Of K = `num_classes` classes, a draw's label is
    k (kept, class k) or, with a rejector, K + k (class k, rejected): `num_labels` is K, or 2 K with a rejector.
    """

    num_classes: int

    @property
    def num_labels(self) -> int: ...

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Float batch (B, C, H, W) in pixel units -> int64 labels (B,), each in 0..num_labels-1 or INVALID."""


class DenoisedClassifier(torch.nn.Module):
    """classifier(normalize(denoiser(x))), hard labels, and `rejector`'s decision on each, if there is one. x has its
    noise already: noise comes before normalisation.
    """

    def __init__(
        self,
        denoiser: torch.nn.Module | None,
        normalize: torch.nn.Module,
        classifier: Any,
        rejector: Rejector | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser if denoiser is not None else torch.nn.Identity()
        self.normalize = normalize
        self.classifier = classifier
        self.rejector = rejector
        self.num_classes = _stated_classes(classifier)

    @property
    def num_labels(self) -> int:
        """The number of labels: that of the classes, or twice that with a rejector."""
        return self.num_classes if self.rejector is None else 2 * self.num_classes

    def answer(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits (B, K), or labels (B,), as `read_answer` reads what the classifier returns."""
        return read_answer(self.classifier(self.normalize(self.denoiser(batch))), batch)

    def answer_and_excess(self, denoised: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The answer to `denoised` pixels (B, C, H, W), and the rejector's excess (B,), as of `excess_of`."""
        with StageFeatures(self.classifier, taps) if (taps := taps_of(self.rejector)) else nullcontext() as stages:
            answer = read_answer(self.classifier(self.normalize(denoised)), denoised)
            features = stages.features if stages is not None else []
        return answer, excess_of(self.rejector, denoised, answer, features)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        answer, excess = self.answer_and_excess(self.denoiser(batch))
        if answer.ndim == 2:
            self.num_classes = answer.shape[1]
        return labels_of(answer, self.num_classes, excess)


def taps_of(rejector: Rejector | None) -> tuple[Tap, ...]:
    """Where the features come from that the rejector is given; none without one."""
    return () if rejector is None else rejector.taps


def excess_of(
    rejector: Rejector | None, denoised: torch.Tensor, answer: torch.Tensor, features: Sequence[torch.Tensor]
) -> torch.Tensor | None:
    """The excess (B,) of each draw over the rejector's threshold; None without a rejector. `features`: the classifier's
    at the rejector's taps.

    Raises RaysmoothError for a classifier that answers labels: they say nothing of its doubts.
    """
    if rejector is None:
        return None
    if answer.ndim == 1:
        raise RaysmoothError(
            "a rejector needs the classifier's logits, and this classifier answers labels: let it return logits, or "
            "leave --rejector out"
        )
    return rejector.excess(denoised, answer, features)


def labels_of(answer: torch.Tensor, num_classes: int, excess: torch.Tensor | None = None) -> torch.Tensor:
    """The labels (B,) of draws, int64: of an `answer` of labels (B,), those that are classes; of logits (B, K), the
    first largest, plus K where `excess` (B,) is above 0. INVALID for the others, where a logit is not finite, and where
    `excess` is not a number.
    """
    if answer.ndim == 1:
        return torch.where((answer >= 0) & (answer < num_classes), answer.long(), INVALID)
    valid, labels = answer.isfinite().all(dim=1), answer.argmax(dim=1)
    if excess is not None:
        valid, labels = valid & ~excess.isnan(), labels + answer.shape[1] * (excess > 0)
    return torch.where(valid, labels, INVALID)


def _stated_classes(classifier: Any) -> int:
    """The number of classes that the classifier states; 0 if it states none, or no number of classes."""
    try:
        count = operator.index(getattr(classifier, "num_classes", 0))
    except TypeError:
        return 0
    return count if 0 < count <= MOST_CLASSES else 0
