"""The networks that a rejector is trained for: they answer, and never change."""

from collections.abc import Sequence

import torch

from raysmooth.actors.models.answers import read_answer
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.stage_features import StageFeatures, Tap
from raysmooth.tune.objectives.objective import Observed
from raysmooth.tune.recipes.autocast import InPrecision


class Frozen:
    """The denoiser and the classifier of `model`, in eval mode, computing in a precision of training; features are
    those at `taps`. No gradient is kept.
    """

    def __init__(self, model: DenoisedClassifier, taps: Sequence[Tap], device: torch.device, precision: str) -> None:
        model.eval()
        self._denoiser = InPrecision(model.denoiser, device, precision)
        self._classifier = InPrecision(torch.nn.Sequential(model.normalize, model.classifier), device, precision)
        self._features = StageFeatures(model.classifier, taps)

    @torch.no_grad()
    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """As `FrozenNetworks.classify`."""
        return self._logits(images).argmax(dim=1)

    @torch.no_grad()
    def observe(self, noisy: torch.Tensor) -> Observed:
        """As `FrozenNetworks.observe`."""
        denoised = self._denoiser(noisy)
        logits = self._logits(denoised)
        return Observed(denoised, logits, self._features.features)

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        return read_answer(self._classifier(pixels), pixels)
