"""The certified selector: a smoothed vote for the level, which has a radius of its own within which it stays the same.

Let S be any map from a noisy image to a level, and s(x) the most likely S(x + noise) under the run's own noise: a
smoothed classifier whose classes are levels. Let h(x) be the class of the classifier smoothed at the level s(x). Within
the radius of s(x) the level is one and the same, and within the radius of the classifier smoothed at that level its
class is: h is constant within the smaller of both, whatever S is. (The pattern of Horvath et al. 2022, ACES, who choose
between a smoothed and a plain network.) Where each is certified with half of alpha, h is with all of it.
"""

import torch
from scipy import special

from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.sigma_search.found import NO_ANSWER, Found, SearchedImages, sigma_of
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.search_options import Selector
from raysmooth.actors.sigma_search.votes import answers


def find(
    images: SearchedImages,
    network: SearchNetwork,
    noise: NoiseFamily,
    options: Selector,
    *,
    batch_size: int,
    micro_batch: int,
) -> Found:
    """A level for each of `images` and the radius, in the norm of `noise`, within which it stays: 0 where the bound on
    its probability is at most 1/2, and the selector abstains. All votes are made under `noise`.

    Block 0 of an image's stream selects the level, block 1 estimates its probability: the bound is Clopper and
    Pearson's at half of alpha. The objective is that bound, the class the likeliest one of the selection draws.
    """
    found = []
    for pixels, opened in zip(images.pixels, images.streams, strict=True):
        selection, estimation = (
            answers(network.logits, pixels, [(noise, draws)], opened(block), batch_size, micro_batch)
            for block, draws in enumerate((options.n0, options.n))
        )
        counts, fresh = (votes(options, logits) for logits in (selection, estimation))
        level = int(counts.argmax())
        p_lower = lower_bound(int(fresh[level]), options.n, options.alpha / 2)
        invalid = sum(int((~logits.isfinite().all(dim=1)).sum()) for logits in (selection, estimation))
        failed = f"{NO_ANSWER} in {invalid} of {options.passes} draws of the search" if invalid else None
        radius = noise.radius(p_lower) if p_lower > 0.5 else 0.0
        top = int(selection.softmax(dim=1).mean(dim=0).argmax())
        found.append(Found.one(sigma_of(noise, options.choices[level]), p_lower, top, radius=radius, failed=failed))
    return Found.joined(found)


def votes(options: Selector, logits: torch.Tensor) -> torch.Tensor:
    """How often each level is voted for, int64 (levels,), by draws with these logits (B, K): by the bin of the largest
    softmax. A value on a threshold is above it.
    """
    thresholds = torch.tensor(options.thresholds, dtype=torch.float64, device=logits.device)
    places = torch.bucketize(logits.softmax(dim=1).amax(dim=1), thresholds, right=True)
    return torch.bincount(places, minlength=len(options.choices)).cpu()


def lower_bound(count: int, n: int, alpha: float) -> float:
    """The lower bound of Clopper and Pearson, at level alpha, on a probability with `count` successes in `n` draws."""
    return float(special.betaincinv(count, n - count + 1, alpha)) if count else 0.0
