"""How a unit of a search of noise levels is computed: its images' levels, in place of label counts."""

import time
from collections.abc import Mapping

import numpy as np
import torch

from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.work_unit import UnitSigmas, WorkUnit
from raysmooth.actors.sigma_search.found import Found, SearchedImages
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.search_options import SearchOptions
from raysmooth.actors.sigma_search.searches import SEARCHES


def search(
    unit: WorkUnit,
    images: Mapping[int, np.ndarray],
    network: SearchNetwork,
    noise: NoiseFamily,
    name: str,
    options: SearchOptions,
    *,
    seed: int,
    batch_size: int,
    micro_batch: int,
    device: torch.device,
) -> UnitSigmas:
    """The levels that the search `name` finds for the images of `unit`, one of Role.OPTIMISATION, from that of `noise`.
    `images`: by image id, float32 (C, H, W), pixel units, of one shape.

    At most `micro_batch` draws share a forward pass; noise does not depend on that. Raises what the classifier raises.
    """
    started = time.perf_counter()
    pixels = torch.from_numpy(np.stack([images[image_id] for image_id in unit.image_ids])).to(device, torch.float32)
    micro_batch = min(micro_batch, batch_size)
    found: Found = SEARCHES[name].find(
        SearchedImages.of(pixels, unit.image_ids, seed),
        network,
        noise,
        options,
        batch_size=batch_size,
        micro_batch=micro_batch,
    )
    seconds = time.perf_counter() - started
    return UnitSigmas(found.sigmas, found.objectives, found.classes, found.radii, found.failed, seconds, micro_batch)
