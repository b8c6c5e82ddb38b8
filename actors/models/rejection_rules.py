"""Which draws a rejector rejects: by rules on the classifier's own logits, or by a trained network."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.stage_features import Tap
from raysmooth.common.errors import RaysmoothError


class Rejector(nn.Module):
    """A map from one draw to whether it is rejected. Any such map leaves the certificate valid: what is certified is
    the classifier with this outcome added.

    `threshold`: what the rejector compares with, in float32. `network`: that of a trained one.
    """

    def __init__(self, threshold: float, network: RejectorNetwork | None = None) -> None:
        super().__init__()
        self.threshold = threshold
        self.network = network

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Where the features come from that it is given."""
        return () if self.network is None else self.network.taps

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

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.threshold - logits.float().softmax(dim=1).amax(dim=1)


class SmallMargin(Rejector):
    """Rejects where the two largest softmax values are closer than `threshold`."""

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        first, second = logits.float().softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
        return self.threshold - (first - second)


class HighEntropy(Rejector):
    """Rejects where the softmax has an entropy above `threshold`, in nats."""

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.special.entr(logits.float().softmax(dim=1)).sum(dim=1) - self.threshold


class NetworkRejector(Rejector):
    """Rejects a draw of class k where head k of `network` gives a probability above `threshold`."""

    def __init__(self, network: RejectorNetwork, threshold: float = 0.5) -> None:
        super().__init__(threshold, network)

    def excess(self, denoised: torch.Tensor, logits: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        assert self.network is not None
        heads = self.network(denoised, features)
        if heads.shape != logits.shape:
            raise RaysmoothError(
                f"the rejector was made for {heads.shape[1]} classes, the classifier has {logits.shape[1]}: give the "
                "rejector of this classifier"
            )
        own = heads.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)
        return own.sigmoid() - self.threshold
