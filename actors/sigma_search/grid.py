"""The level of a grid whose votes give the largest radius: the baseline of Alfarra et al., for any classifier."""

import torch

from raysmooth.actors.models.base_classifier import INVALID
from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.sigma_search.found import NO_ANSWER, Found, SearchedImages, sigma_of
from raysmooth.actors.sigma_search.objective import certified_radius
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.search_options import Grid
from raysmooth.actors.sigma_search.votes import answers


def find(
    images: SearchedImages,
    network: SearchNetwork,
    noise: NoiseFamily,
    options: Grid,
    *,
    batch_size: int,
    micro_batch: int,
) -> Found:
    """A level for each of `images`, from the draws of block 0 of its stream, level by level. Of several with the same
    radius it is the lowest. A batch has `batch_size` draws, and at most `micro_batch` of them share a forward pass.
    """
    levels = grid_levels(options, NOISES[noise.name].of_sigma(noise.scale))
    noises = [(noise.at(sigma_of(noise, level)), options.draws) for level in levels]
    at = torch.tensor(levels, dtype=torch.float64)
    found = []
    for pixels, opened in zip(images.pixels, images.streams, strict=True):
        labels = answers(network.labels, pixels, noises, opened(0), batch_size, micro_batch).cpu()
        counts = torch.nn.functional.one_hot(labels.clamp(min=0), network.num_classes)
        shares = counts.view(len(levels), options.draws, -1).double().mean(dim=1)
        radii = certified_radius(shares, at, noise.name, options.clamp)
        best = int(radii.argmax())
        invalid = int((labels == INVALID).sum())
        failed = f"{NO_ANSWER} in {invalid} of {len(labels)} draws of the search" if invalid else None
        found.append(Found.one(noises[best][0].scale, float(radii[best]), int(shares[best].argmax()), failed=failed))
    return Found.joined(found)


def grid_levels(options: Grid, first: float) -> list[float]:
    """The levels of a search that begins at `first`, evenly spaced, with both bounds."""
    least, most = options.bounds(first)
    steps = options.levels - 1
    return [*(least + (most - least) * place / steps for place in range(steps)), most]
