"""The base classifier as a search computes it: in float32 and not compiled, for gradients; BatchNorm is folded."""

import copy

import torch
from torch import nn

from raysmooth.actors.compute.folding import fold_batch_norms
from raysmooth.actors.models.base_classifier import DenoisedClassifier, labels_of
from raysmooth.actors.models.formats.onnx_session import OnnxClassifier
from raysmooth.actors.models.steadiness import alike
from raysmooth.actors.sigma_search.search_options import SearchOptions
from raysmooth.common.errors import RaysmoothError


class SearchNetwork:
    """Noisy pixels, float32 (B, C, H, W), to logits or labels. `model`, which is not changed, is in eval mode.

    Raises RaysmoothError, when it is made or first called, for a classifier that the search cannot use.
    """

    def __init__(self, model: DenoisedClassifier, options: SearchOptions) -> None:
        if model.rejector is not None:
            raise RaysmoothError(
                "noise levels are sought for the classifier itself, without --rejector: leave it out of the search"
            )
        self.num_classes = model.num_classes
        self._options = options
        self._plain: DenoisedClassifier | None = model
        self._network = _folded(model)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float64 (B, K), so that probabilities close to 1 keep their distance from it."""
        return self._answer(pixels).double()

    @torch.no_grad()
    def labels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Int64 (B,): classes, or INVALID."""
        answer = self._answer(pixels)
        return labels_of(answer, self.num_classes)

    def _answer(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._plain is not None:
            self._check(self._plain, pixels[:1].detach())
            self._plain = None
        return self._network.answer(pixels)

    def _check(self, plain: DenoisedClassifier, few: torch.Tensor) -> None:
        with torch.enable_grad():
            answer = plain.answer(few.clone().requires_grad_())
        if answer.ndim == 1 and self._options.needs_logits:
            raise RaysmoothError(
                "the search needs the classifier's logits, and this classifier answers labels: write --search grid"
            )
        if self._options.needs_logits and isinstance(plain.classifier, OnnxClassifier):
            plain.classifier.refuse_as_logits("this search, unlike --search grid,")
        if self._options.needs_gradients and not answer.requires_grad:
            raise RaysmoothError(
                "the search needs gradients, and this classifier's answers have none: write --search "
                "ddrs:gradient=difference, or --search grid"
            )
        if answer.ndim == 2:
            self.num_classes = answer.shape[1]
        answer = answer.detach()
        with torch.no_grad():
            folded = self._network.answer(few)
        # The user's code may use its parts in ways that folding does not see.
        if folded.shape != answer.shape or not alike(folded, answer, 1e-2):
            self._network = plain


def _folded(model: DenoisedClassifier) -> DenoisedClassifier:
    """A copy of `model` with BatchNorm folded; `model` itself where it has none, or cannot be copied."""
    if not any(type(module) is nn.BatchNorm2d for module in model.modules()):
        return model
    try:
        shared = {} if isinstance(model.classifier, nn.Module) else {id(model.classifier): model.classifier}
        network = copy.deepcopy(model, shared)
    except Exception:  # whatever the user's own module raises: unfolded it computes the same
        return model
    for part in (network.denoiser, network.classifier):
        if isinstance(part, nn.Module):
            fold_batch_norms(part)
    return network.eval().requires_grad_(False)
