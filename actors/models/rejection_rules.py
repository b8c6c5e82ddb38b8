"""Which draws a rejector rejects: rules on the classifier's own logits."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import nn


class Rejector(nn.Module):
    """A map from one draw to whether it is rejected. Any such map leaves the certificate valid: what is certified is
    the classifier with this outcome added.
    """

    network: nn.Module | None = None
    """The network of a trained rejector."""

    @abstractmethod
    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """How far each draw is beyond the threshold: float32 (B,), rejected where it is above 0, undecided where it is
        NaN. `denoised` are pixels (B, C, H, W), `logits` (B, K) the classifier's, `features` its stage features.
        """

    def forward(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Whether each draw is rejected, bool (B,)."""
        return self.excess(denoised, logits, features) > 0


class LowConfidence(Rejector):
    """Rejects where the largest softmax is below `threshold`."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.threshold - logits.float().softmax(dim=1).amax(dim=1)


class SmallMargin(Rejector):
    """Rejects where the two largest softmax values are closer than `threshold`."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        first, second = logits.float().softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
        return self.threshold - (first - second)


class HighEntropy(Rejector):
    """Rejects where the softmax has an entropy above `threshold`, in nats."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.special.entr(logits.float().softmax(dim=1)).sum(dim=1) - self.threshold
