"""The radius that a search increases: what the mean softmax of an image's draws would certify, with a gradient."""

from collections.abc import Callable

import torch

from raysmooth.common.registry import Registry


def _gaussian(level: torch.Tensor, first: torch.Tensor, second: torch.Tensor, clamp: float) -> torch.Tensor:
    """Sigma / 2 (PhiInv(p1) - PhiInv(p2)), each p clamped to [clamp, 1 - clamp]: beyond that it has slope 0."""
    quantiles = [torch.special.ndtri(p.clamp(clamp, 1 - clamp)) for p in (first, second)]
    return level / 2 * (quantiles[0] - quantiles[1])


def _uniform(level: torch.Tensor, first: torch.Tensor, second: torch.Tensor, clamp: float) -> torch.Tensor:
    """Lambda (p1 - p2), which needs no clamp."""
    return level * (first - second)


OBJECTIVES: Registry[Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]] = Registry(
    "objective of noise", {"gaussian": _gaussian, "uniform": _uniform}
)
"""By noise family, from its parameter and the two probabilities: the certified radius, smooth between the clamps."""


def certified_radius(
    probabilities: torch.Tensor, level: torch.Tensor, noise: str, clamp: float, anchor: torch.Tensor | None = None
) -> torch.Tensor:
    """The radius (B,) of each image's likeliest class against the next one, differentiable in both arguments.

    `probabilities` (B, K) are those of the smoothed classifier, `level` (B,) the parameter of the noise: sigma of
    Gaussian noise (l2 radius; Alfarra et al., equation 3), lambda of uniform noise (l1 radius; Yang et al. 2020). With
    `anchor`, classes (B,), it is the radius of that class against the likeliest other one, and may be negative.
    """
    if anchor is None:
        first, second = probabilities.topk(2, dim=1).values.unbind(dim=1)
    else:
        first = probabilities.gather(1, anchor.unsqueeze(1)).squeeze(1)
        second = probabilities.scatter(1, anchor.unsqueeze(1), -1.0).amax(dim=1)
    return OBJECTIVES[noise](level, first, second, clamp)
